//! Many datagrams per system call. The only unsafe code of the crate: nix's wrapper of `sendmmsg` does not
//! tell how many datagrams went out without reading addresses that were never written.

use socket2::SockAddr;
use std::io;
use std::mem::{self, offset_of, size_of};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::os::fd::AsRawFd as _;
use std::ptr;

/// Datagrams per call.
pub(super) const LEN: usize = 64;
/// Longest datagram that is read whole; the longest that a host sends has a third of it.
const SIZE: usize = 1024;

/// Room for what the system says about a datagram besides: the address that it was sent to.
const CONTROL: usize = 64;

/// Datagrams received, and the answers to them.
pub(super) struct Batch {
    datagrams: Vec<[u8; SIZE]>,
    names: Vec<libc::sockaddr_storage>,
    /// As the system wrote them; sent back, they make the answer come from where the question went to.
    controls: Vec<([u8; CONTROL], usize)>,
    /// Length of each datagram; `None` if it was cut off.
    lengths: Vec<Option<usize>>,
    answers: Vec<u8>,
    /// Which datagram each answer is for, and where it ends in `answers`.
    ends: Vec<(usize, usize)>,
}

impl Batch {
    pub(super) fn new() -> Self {
        // SAFETY: a sockaddr_storage is integers only, for which zero bytes are a value.
        #[expect(unsafe_code, reason = "libc's structures have no constructors")]
        let empty_name: libc::sockaddr_storage = unsafe { mem::zeroed() };
        Self {
            datagrams: vec![[0; SIZE]; LEN],
            names: vec![empty_name; LEN],
            controls: vec![([0; CONTROL], 0); LEN],
            lengths: Vec::with_capacity(LEN),
            answers: Vec::with_capacity(LEN * 8),
            ends: Vec::with_capacity(LEN),
        }
    }

    /// Takes up to [`LEN`] datagrams that are there; [`io::ErrorKind::WouldBlock`] if there are none.
    pub(super) fn receive(&mut self, socket: &UdpSocket) -> io::Result<usize> {
        self.lengths.clear();
        self.answers.clear();
        self.ends.clear();
        let mut slices: [libc::iovec; LEN] = std::array::from_fn(|i| libc::iovec {
            iov_base: self.datagrams[i].as_mut_ptr().cast(),
            iov_len: SIZE,
        });
        let mut headers: [libc::mmsghdr; LEN] = std::array::from_fn(|i| {
            let mut header = header(&raw mut slices[i], &raw mut self.names[i], name_capacity());
            header.msg_hdr.msg_control = self.controls[i].0.as_mut_ptr().cast();
            header.msg_hdr.msg_controllen = CONTROL as _;
            header
        });
        // SAFETY: each header points to one name, one slice and `CONTROL` bytes, and each slice to `SIZE`
        // bytes, all of which outlive the call and are borrowed by nothing else; there are `LEN` headers.
        #[expect(unsafe_code, reason = "the system call")]
        let received = unsafe {
            libc::recvmmsg(
                socket.as_raw_fd(),
                headers.as_mut_ptr(),
                LEN as libc::c_uint,
                libc::MSG_DONTWAIT,
                ptr::null_mut(),
            )
        };
        let received = usize::try_from(received).map_err(|_| io::Error::last_os_error())?;
        for (control, header) in self.controls.iter_mut().zip(&headers[..received]) {
            control.1 = header.msg_hdr.msg_controllen.min(CONTROL);
            forget_interface(&mut control.0[..control.1]);
        }
        self.lengths.extend(headers[..received].iter().map(|h| {
            let whole = h.msg_hdr.msg_flags & libc::MSG_TRUNC == 0;
            whole.then_some((h.msg_len as usize).min(SIZE))
        }));
        Ok(received)
    }

    /// Datagram `i` of the last [`receive`](Self::receive); `None` if it was longer than fits or nobody
    /// can be answered there.
    fn datagram(&self, i: usize) -> Option<Datagram<'_>> {
        let length = (*self.lengths.get(i)?)?;
        let source = socket_addr(&self.names[i])?;
        let (control, filled) = &self.controls[i];
        let local = local_address(&control[..*filled]);
        (source.port() != 0).then_some(Datagram { source, local, bytes: &self.datagrams[i][..length] })
    }

    /// Calls `each` with every datagram received, to append its answer to the buffer.
    pub(super) fn answer_each(&mut self, mut each: impl FnMut(Datagram<'_>, &mut Vec<u8>)) {
        let mut answers = mem::take(&mut self.answers);
        for i in 0..self.lengths.len() {
            let before = answers.len();
            if let Some(datagram) = self.datagram(i) {
                each(datagram, &mut answers);
            }
            if answers.len() > before {
                self.ends.push((i, answers.len()));
            }
        }
        self.answers = answers;
    }

    /// Sends the answers to where the datagrams came from; gives how many could not be sent.
    pub(super) fn send(&mut self, socket: &UdpSocket) -> usize {
        let (mut next, mut unsent) = (0, 0);
        while next < self.ends.len() {
            match self.send_from(socket, next) {
                Ok(sent) => next += sent,
                // One destination that the system refuses must not cost the others their answers.
                Err(error) if error.kind() != io::ErrorKind::Interrupted => {
                    next += 1;
                    unsent += 1;
                }
                Err(_) => {}
            }
        }
        unsent
    }

    fn send_from(&mut self, socket: &UdpSocket, first: usize) -> io::Result<usize> {
        let mut start = first.checked_sub(1).map_or(0, |i| self.ends[i].1);
        let mut slices: [libc::iovec; LEN] = [libc::iovec { iov_base: ptr::null_mut(), iov_len: 0 }; LEN];
        let count = self.ends.len() - first;
        for (slice, (_, end)) in slices.iter_mut().zip(&self.ends[first..]) {
            slice.iov_base = self.answers[start..*end].as_mut_ptr().cast();
            slice.iov_len = end - start;
            start = *end;
        }
        let mut headers: [libc::mmsghdr; LEN] = std::array::from_fn(|i| match self.ends.get(first + i) {
            Some((datagram, _)) => {
                let name = &raw mut self.names[*datagram];
                let mut header = header(&raw mut slices[i], name, name_length(&self.names[*datagram]));
                let (control, filled) = &mut self.controls[*datagram];
                if *filled > 0 {
                    header.msg_hdr.msg_control = control.as_mut_ptr().cast();
                    header.msg_hdr.msg_controllen = *filled as _;
                }
                header
            }
            None => header(ptr::null_mut(), ptr::null_mut(), 0),
        });
        // SAFETY: the first `count` headers point to names and controls written by `receive` and to slices
        // of `answers`, all of which outlive the call, which only reads them; `count` is at most `LEN`, because there is
        // at most one answer per datagram.
        #[expect(unsafe_code, reason = "the system call")]
        let sent =
            unsafe { libc::sendmmsg(socket.as_raw_fd(), headers.as_mut_ptr(), count as libc::c_uint, 0) };
        usize::try_from(sent).map_err(|_| io::Error::last_os_error())
    }
}

/// One datagram.
pub(super) struct Datagram<'a> {
    pub(super) source: SocketAddr,
    /// The address of ours that it was sent to, where the socket has several.
    pub(super) local: Option<IpAddr>,
    pub(super) bytes: &'a [u8],
}

/// Level and type of what the system says besides a datagram, and where its content begins.
fn control_kind(control: &[u8]) -> Option<(i32, i32, usize)> {
    let number = |at: usize| Some(i32::from_ne_bytes(control.get(at..at + 4)?.try_into().ok()?));
    let level = number(offset_of!(libc::cmsghdr, cmsg_level))?;
    Some((level, number(offset_of!(libc::cmsghdr, cmsg_type))?, size_of::<libc::cmsghdr>()))
}

fn local_address(control: &[u8]) -> Option<IpAddr> {
    let (level, kind, content) = control_kind(control)?;
    match (level, kind) {
        (libc::IPPROTO_IP, libc::IP_PKTINFO) => {
            let at = content + offset_of!(libc::in_pktinfo, ipi_spec_dst);
            let octets: [u8; 4] = control.get(at..at + 4)?.try_into().ok()?;
            Some(Ipv4Addr::from(octets).into())
        }
        (libc::IPPROTO_IPV6, libc::IPV6_PKTINFO) => {
            let at = content + offset_of!(libc::in6_pktinfo, ipi6_addr);
            let octets: [u8; 16] = control.get(at..at + 16)?.try_into().ok()?;
            Some(Ipv6Addr::from(octets).into())
        }
        _ => None,
    }
}

/// Answers leave by the route to their destination, which need not be the interface of the question.
fn forget_interface(control: &mut [u8]) {
    let at = match control_kind(control) {
        Some((libc::IPPROTO_IP, libc::IP_PKTINFO, content)) => {
            content + offset_of!(libc::in_pktinfo, ipi_ifindex)
        }
        Some((libc::IPPROTO_IPV6, libc::IPV6_PKTINFO, content)) => {
            content + offset_of!(libc::in6_pktinfo, ipi6_ifindex)
        }
        _ => return,
    };
    if let Some(interface) = control.get_mut(at..at + 4) {
        interface.fill(0);
    }
}

fn header(
    slice: *mut libc::iovec,
    name: *mut libc::sockaddr_storage,
    name_length: libc::socklen_t,
) -> libc::mmsghdr {
    // SAFETY: an mmsghdr is integers and pointers only, for which zero bytes are a value.
    #[expect(unsafe_code, reason = "libc's structures have no constructors")]
    let mut header: libc::mmsghdr = unsafe { mem::zeroed() };
    header.msg_hdr.msg_name = name.cast();
    header.msg_hdr.msg_namelen = name_length;
    header.msg_hdr.msg_iov = slice;
    header.msg_hdr.msg_iovlen = usize::from(!slice.is_null());
    header
}

fn name_capacity() -> libc::socklen_t {
    size_of::<libc::sockaddr_storage>() as libc::socklen_t
}

fn name_length(name: &libc::sockaddr_storage) -> libc::socklen_t {
    let length = match i32::from(name.ss_family) {
        libc::AF_INET => size_of::<libc::sockaddr_in>(),
        _ => size_of::<libc::sockaddr_in6>(),
    };
    length as libc::socklen_t
}

fn socket_addr(name: &libc::sockaddr_storage) -> Option<SocketAddr> {
    // SAFETY: the system wrote the name, of the length that its family has.
    #[expect(unsafe_code, reason = "the only way from a raw name to an address")]
    let name = unsafe {
        let mut storage = socket2::SockAddrStorage::zeroed();
        *storage.view_as::<libc::sockaddr_storage>() = *name;
        SockAddr::new(storage, name_length(name))
    };
    name.as_socket()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::{Duration, Instant};

    #[test]
    fn a_full_batch_is_answered_to_each_source() {
        for local in ["127.0.0.1:0", "[::1]:0"] {
            let server = UdpSocket::bind(local).unwrap();
            let clients: Vec<UdpSocket> = (0..LEN + 3)
                .map(|n| {
                    let client = UdpSocket::bind(local).unwrap();
                    client.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
                    client.connect(server.local_addr().unwrap()).unwrap();
                    client.send(format!("{n}").as_bytes()).unwrap();
                    client
                })
                .collect();
            clients[0].send(&[0; SIZE + 1]).unwrap();
            clients[1].send(b"no answer").unwrap();
            let (mut batch, mut total) = (Batch::new(), 0);
            let deadline = Instant::now() + Duration::from_secs(20);
            while total < LEN + 5 {
                match batch.receive(&server) {
                    Ok(received) => total += received,
                    Err(error) => assert_eq!(error.kind(), io::ErrorKind::WouldBlock),
                }
                batch.answer_each(|datagram, out| {
                    if datagram.bytes != b"no answer" {
                        out.extend_from_slice(datagram.bytes);
                        out.push(b'!');
                    }
                });
                assert_eq!(batch.send(&server), 0);
                assert!(Instant::now() < deadline);
            }
            for (n, client) in clients.iter().enumerate() {
                let mut buffer = [0; 64];
                let length = client.recv(&mut buffer).unwrap();
                assert_eq!(&buffer[..length], format!("{n}!").as_bytes());
            }
        }
    }
}
