# Two machines: a gateway with its own rendezvous server, and a host with a virtual display that a client on
# the gateway operates by id.
{ pkgs, module }:
pkgs.testers.nixosTest {
  name = "deskhand";

  nodes.gateway =
    { pkgs, ... }:
    {
      imports = [ module ];
      services.deskhand = {
        enable = true;
        openFirewall = true;
        rendezvous.enable = true;
        targets.kiosk = {
          address = "kiosk-01";
          passwordFile = "${pkgs.writeText "password" "correct horse"}";
        };
      };
      services.prometheus.enable = true;
      environment.systemPackages = [ pkgs.curl ];
    };

  nodes.kiosk =
    { pkgs, ... }:
    {
      imports = [ module ];
      services.deskhand.host = {
        # The server's key is known only when it runs: the test starts the unit's program by hand.
        enable = false;
        passwordFile = "${pkgs.writeText "password" "correct horse"}";
      };
      environment.systemPackages = [
        pkgs.deskhand
        pkgs.xorg.xorgserver
        pkgs.xauth
      ];
      environment.etc."deskhand-password".text = "correct horse";
    };

  testScript = ''
    start_all()
    gateway.wait_for_unit("deskhand.service")
    gateway.wait_until_succeeds("curl -fsS http://127.0.0.1:8642/health")
    gateway.succeed("curl -fsS http://127.0.0.1:8642/ready")
    gateway.succeed("curl -fsS http://127.0.0.1:9464/metrics | grep -q '^deskhand_build_info'")

    def public_key():
        return gateway.succeed("journalctl -u deskhand -o cat | sed -n 's/^key //p' | tail -n 1").strip()

    key = public_key()

    kiosk.succeed(
        "systemd-run --unit=host -- deskhand host --server gateway --key " + key
        + " --id kiosk-01 --password-file /etc/deskhand-password --virtual 1024x768 --state /var/lib/kiosk"
    )
    kiosk.wait_until_succeeds("journalctl -u host | grep -q ready")

    with subtest("a client operates the host by its id"):
        gateway.succeed(
            "cd /tmp && echo 'correct horse' > pw && printf '[server]\naddress = \"gateway\"\nkey = \"%s\"\n"
            "[targets.kiosk]\naddress = \"kiosk-01\"\npassword_file = \"/tmp/pw\"\n' '" + key + "' > c.toml && "
            "deskhand call --config c.toml --state /tmp/state connect '{\"target\":\"kiosk\"}' screenshot '{}'"
        )

    with subtest("the key survives a restart"):
        gateway.systemctl("restart deskhand.service")
        gateway.wait_for_unit("deskhand.service")
        assert key == public_key()

    with subtest("a program that hangs is killed and started again"):
        pid = gateway.succeed("systemctl show -P MainPID deskhand.service").strip()
        gateway.succeed("kill -STOP " + pid)
        gateway.wait_until_succeeds("test $(systemctl show -P MainPID deskhand.service) != " + pid, timeout=90)
        gateway.wait_until_succeeds("curl -fsS http://127.0.0.1:8642/health")
  '';
}
