{
  config,
  lib,
  pkgs,
  ...
}:
let
  inherit (lib)
    mkEnableOption
    mkIf
    mkOption
    mkPackageOption
    types
    ;

  cfg = config.services.deskhand.host;

  screen =
    if cfg.virtual != null then
      [
        "--virtual"
        cfg.virtual
      ]
    else if cfg.display != null then
      [
        "--display"
        cfg.display
      ]
    else
      [ ];

  arguments =
    lib.optionals (cfg.server != null) [
      "--server"
      cfg.server
    ]
    ++ lib.optionals (cfg.key != null) [
      "--key"
      cfg.key
    ]
    ++ lib.optionals (cfg.relay != null) [
      "--relay"
      cfg.relay
    ]
    ++ lib.optionals (cfg.id != null) [
      "--id"
      cfg.id
    ]
    ++ lib.optionals (cfg.directPort != null) [
      "--direct-port"
      (toString cfg.directPort)
    ]
    ++ screen;

  command = "${lib.getExe cfg.package} host --password-file %d/password --state %S/deskhand-host ${lib.escapeShellArgs arguments}";

  unit = {
    description = "Deskhand host: lets permitted clients see and operate this machine";
    documentation = [ "https://github.com/deskhand/deskhand" ];
    # An X server and what runs on it.
    path = lib.optionals (cfg.virtual != null) [
      pkgs.xorg.xorgserver
      pkgs.xauth
    ];
    environment = lib.optionalAttrs (cfg.xauthority != null) { XAUTHORITY = cfg.xauthority; };
    serviceConfig = {
      ExecStart = command;
      LoadCredential = [ "password:${toString cfg.passwordFile}" ];
      StateDirectory = "deskhand-host";
      StateDirectoryMode = "0700";
      Restart = "on-failure";
      RestartSec = 5;
      KillSignal = "SIGTERM";
      TimeoutStopSec = 15;
    };
  };
in
{
  options.services.deskhand.host = {
    enable = mkEnableOption "sharing this machine with Deskhand and RustDesk clients that know the password";

    package = mkPackageOption pkgs "deskhand" { };

    perUser = mkOption {
      type = types.bool;
      default = false;
      description = ''
        Whether the host is a service of each graphical session, which it shares, in place of one of the
        system.
      '';
    };

    user = mkOption {
      type = types.nullOr types.str;
      default = null;
      description = "User of the system service: the owner of the display. One is made for it where this is null.";
    };

    server = mkOption {
      type = types.nullOr types.str;
      default = null;
      example = "hbbs.example.com";
      description = "Rendezvous server to register with, `host` or `host:port`.";
    };

    key = mkOption {
      type = types.nullOr types.str;
      default = null;
      description = "That server's public key.";
    };

    relay = mkOption {
      type = types.nullOr types.str;
      default = null;
      description = "Relay to use, whatever the server announces.";
    };

    id = mkOption {
      type = types.nullOr (types.strMatching "[A-Za-z][A-Za-z0-9_-]{5,15}|[0-9]{6,16}");
      default = null;
      description = "The id to be known by; one is chosen and kept where this is null.";
    };

    passwordFile = mkOption {
      type = types.path;
      description = "File whose first line is the password that lets clients in.";
    };

    virtual = mkOption {
      type = types.nullOr (types.strMatching "[0-9]+x[0-9]+");
      default = null;
      example = "1280x800";
      description = "Start a virtual display of this size and share it.";
    };

    display = mkOption {
      type = types.nullOr (types.strMatching ":[0-9]+(\\.[0-9]+)?");
      default = null;
      example = ":0";
      description = "X display to share.";
    };

    xauthority = mkOption {
      type = types.nullOr types.str;
      default = null;
      example = "/run/user/1000/xauth";
      description = "Where the display's access cookie is.";
    };

    directPort = mkOption {
      type = types.nullOr types.port;
      default = null;
      description = "Also accept clients directly on this port; such sessions are not encrypted by the protocol.";
    };

    openFirewall = mkOption {
      type = types.bool;
      default = false;
      description = "Opens the direct port.";
    };
  };

  config = mkIf cfg.enable {
    assertions = [
      {
        assertion = cfg.virtual == null || cfg.display == null;
        message = "services.deskhand.host: virtual and display exclude each other.";
      }
      {
        assertion = cfg.perUser || cfg.virtual != null || cfg.display != null;
        message = "services.deskhand.host: say which display the system service shares (virtual or display), or set perUser.";
      }
      {
        assertion = cfg.server != null || cfg.directPort != null;
        message = "services.deskhand.host: nobody could reach it: set server or directPort.";
      }
      {
        assertion = cfg.server == null || cfg.key != null;
        message = "services.deskhand.host.key: the public key of the server is needed.";
      }
      {
        assertion = !cfg.openFirewall || cfg.directPort != null;
        message = "services.deskhand.host.openFirewall opens the direct port, which is not set.";
      }
    ];

    systemd.user.services.deskhand-host = mkIf cfg.perUser (
      unit
      // {
        wantedBy = [ "graphical-session.target" ];
        partOf = [ "graphical-session.target" ];
        after = [ "graphical-session.target" ];
      }
    );

    systemd.services.deskhand-host = mkIf (!cfg.perUser) (
      unit
      // {
        wantedBy = [ "multi-user.target" ];
        wants = [ "network-online.target" ];
        after = [ "network-online.target" ] ++ lib.optional (cfg.display != null) "display-manager.service";
        serviceConfig =
          import ./hardening.nix
          // unit.serviceConfig
          // (if cfg.user == null then { DynamicUser = true; } else { User = cfg.user; })
          # The display's socket and, with a user of the machine, what runs on the desktop, live outside.
          // lib.optionalAttrs (cfg.display != null) {
            PrivateTmp = false;
            PrivateUsers = false;
            ProtectHome = "read-only";
          };
      }
    );

    networking.firewall.allowedTCPPorts = lib.optional cfg.openFirewall cfg.directPort;
  };
}
