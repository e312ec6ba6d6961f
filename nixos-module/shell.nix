# What `make demo` and `make test` need besides a shell.
{ pkgs }:
pkgs.mkShell {
  inputsFrom = [ pkgs.deskhand ];
  packages = with pkgs; [
    cargo-deny
    cargo-nextest
    clippy
    git
    iproute2
    nodejs_22
    openbox
    prometheus
    python3
    rustfmt
    xauth
    xclip
    xdotool
    xorg.xev
    xorg.xorgserver
    xorg.xprop
    xorg.xrandr
    xorg.xset
    xorg.xwininfo
    xterm
  ];
}
