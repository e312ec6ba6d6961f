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
    mkMerge
    mkOption
    mkPackageOption
    types
    ;

  cfg = config.services.deskhand;
  format = pkgs.formats.toml { };

  # Secrets are given to the unit as systemd credentials, and the configuration names them by that.
  credential = name: "%d/${name}";
  secretOf = name: "secret://${name}";

  targetSecrets = lib.concatMapAttrs (
    name: target:
    lib.optionalAttrs (target.passwordFile != null) { "target-${name}" = target.passwordFile; }
  ) cfg.targets;

  credentials =
    targetSecrets
    // lib.optionalAttrs (cfg.rendezvous.keyFile != null) { id_ed25519 = cfg.rendezvous.keyFile; }
    // lib.optionalAttrs (cfg.metricsTokenFile != null) { metrics-token = cfg.metricsTokenFile; }
    // lib.optionalAttrs (cfg.tls.keyFile != null) { tls-key = cfg.tls.keyFile; };

  targets = lib.mapAttrs (
    name: target:
    lib.filterAttrs (_: value: value != null) {
      inherit (target) address tags description;
      password = if target.passwordFile == null then null else secretOf "target-${name}";
      allow_unencrypted = if target.allowUnencrypted then true else null;
    }
    // target.settings
  ) cfg.targets;

  settings = lib.foldl' lib.recursiveUpdate { } [
    (lib.optionalAttrs (cfg.targets != { }) { inherit targets; })
    cfg.settings
  ];

  # Paths that are known only when the unit runs come by the environment, which is read after the file.
  environment =
    lib.optionalAttrs (cfg.rendezvous.keyFile != null) {
      DESKHAND_RENDEZVOUS__KEY_FILE = credential "id_ed25519";
    }
    // lib.optionalAttrs (cfg.metricsTokenFile != null) {
      DESKHAND_METRICS__TOKEN_FILE = credential "metrics-token";
    }
    // lib.optionalAttrs (cfg.tls.keyFile != null) {
      DESKHAND_HTTP__TLS_KEY = credential "tls-key";
    };

  unchecked = format.generate "deskhand.toml" settings;
  configFile =
    if cfg.checkConfig then
      pkgs.runCommand "deskhand-checked.toml" { } ''
        # The secrets come when the unit runs; here it counts which there will be.
        mkdir credentials
        for name in ${lib.escapeShellArgs (lib.attrNames credentials)}; do
          echo placeholder > "credentials/$name"
        done
        export CREDENTIALS_DIRECTORY=$PWD/credentials
        ${lib.getExe cfg.package} config check --config ${unchecked}
        cp ${unchecked} $out
      ''
    else
      unchecked;

  # The port of "address:port"; an address in brackets has colons of its own.
  portOf = listen: lib.toInt (lib.last (lib.splitString ":" listen));
  httpListen = cfg.settings.http.listen;
  metricsListen = cfg.settings.metrics.listen;
  rendezvousPort = cfg.settings.rendezvous.port;
  isLoopback = listen: lib.hasPrefix "127." listen || lib.hasPrefix "[::1]" listen;
in
{
  options.services.deskhand = {
    enable = mkEnableOption "Deskhand, the gateway through which models and people operate remote machines";

    package = mkPackageOption pkgs "deskhand" { };

    settings = mkOption {
      default = { };
      description = ''
        The configuration; `deskhand config example` shows all keys. Secrets do not belong here: everything in
        it can be read by every user of the machine.
      '';
      example = {
        http.public_url = "https://deskhand.example.com";
        policy.mode = "edit";
      };
      type = types.submodule {
        freeformType = format.type;
        options = {
          http.listen = mkOption {
            type = types.str;
            default = "127.0.0.1:8642";
            description = "Address and port of MCP, viewer and API.";
          };
          metrics.enable = mkOption {
            type = types.bool;
            default = true;
            description = "Whether there is a listener for Prometheus.";
          };
          metrics.listen = mkOption {
            type = types.str;
            default = "127.0.0.1:9464";
            description = "Address and port of the metrics.";
          };
          rendezvous.enable = mkOption {
            type = types.bool;
            default = false;
            internal = true;
            description = "Set through {option}`services.deskhand.rendezvous.enable`.";
          };
          rendezvous.port = mkOption {
            type = types.port;
            default = 21116;
            description = ''
              Port of the rendezvous server (UDP and TCP). The NAT test is one below, the relay one above,
              WebSocket two and three above.
            '';
          };
        };
      };
    };

    checkConfig = mkOption {
      type = types.bool;
      default = pkgs.stdenv.buildPlatform.canExecute pkgs.stdenv.hostPlatform;
      defaultText = lib.literalMD "whether the package can run on the machine that builds";
      description = "Whether a configuration with mistakes fails the build.";
    };

    targets = mkOption {
      default = { };
      description = "Machines by the names that people and models use.";
      example = lib.literalExpression ''
        {
          office = {
            address = "123456789";
            passwordFile = "/run/secrets/office";
            tags = [ "windows" ];
          };
        }
      '';
      type = types.attrsOf (
        types.submodule {
          options = {
            address = mkOption {
              type = types.str;
              description = "RustDesk id, `id/r` (by relay), `id@server?key=…`, IP address, or `host:port`.";
            };
            passwordFile = mkOption {
              type = types.nullOr types.path;
              default = null;
              description = "File whose first line is the password; read by systemd, as root.";
            };
            tags = mkOption {
              type = types.listOf types.str;
              default = [ ];
              description = "Words to select the machine by.";
            };
            description = mkOption {
              type = types.str;
              default = "";
              description = "What the machine is for; shown to models.";
            };
            allowUnencrypted = mkOption {
              type = types.bool;
              default = false;
              description = "Allow sessions that the protocol does not encrypt: those by IP address.";
            };
            settings = mkOption {
              type = format.type;
              default = { };
              description = "Further keys of the target.";
            };
          };
        }
      );
    };

    rendezvous = {
      enable = mkEnableOption "the rendezvous server and relay, for stock RustDesk programs, too";
      keyFile = mkOption {
        type = types.nullOr types.path;
        default = null;
        description = ''
          The server's secret key, as hbbs keeps it in `id_ed25519`. One is made in the state directory if there
          is none.
        '';
      };
      importFrom = mkOption {
        type = types.nullOr types.path;
        default = null;
        example = "/var/lib/rustdesk";
        description = ''
          State directory of {option}`services.rustdesk-server`. Its key and peers are copied when this one has
          none yet; nothing there is changed.
        '';
      };
    };

    tls = {
      certificateFile = mkOption {
        type = types.nullOr types.path;
        default = null;
        description = "Certificate chain (PEM), if no reverse proxy ends TLS.";
      };
      keyFile = mkOption {
        type = types.nullOr types.path;
        default = null;
        description = "Its key (PEM); read by systemd, as root.";
      };
    };

    metricsTokenFile = mkOption {
      type = types.nullOr types.path;
      default = null;
      description = "File with the bearer token that Prometheus has to show.";
    };

    environmentFile = mkOption {
      type = types.nullOr types.path;
      default = null;
      description = "File with `DESKHAND_…` variables, for secrets that are not files of their own.";
    };

    openFirewall = mkOption {
      type = types.bool;
      default = false;
      description = ''
        Opens the ports of the rendezvous server, and that of HTTP unless it listens on loopback. Never that of
        the metrics.
      '';
    };
  };

  config = mkIf cfg.enable (mkMerge [
    {
      assertions = [
        {
          assertion = (cfg.tls.certificateFile == null) == (cfg.tls.keyFile == null);
          message = "services.deskhand.tls: certificateFile and keyFile belong together.";
        }
        {
          assertion = cfg.rendezvous.keyFile == null || cfg.rendezvous.enable;
          message = "services.deskhand.rendezvous.keyFile is set, but services.deskhand.rendezvous.enable is not.";
        }
        {
          assertion = cfg.rendezvous.importFrom == null || cfg.rendezvous.enable;
          message = "services.deskhand.rendezvous.importFrom is set, but services.deskhand.rendezvous.enable is not.";
        }
        {
          assertion = !(cfg.rendezvous.enable && (config.services.rustdesk-server.enable or false));
          message = "services.deskhand.rendezvous and services.rustdesk-server take the same ports: disable the latter.";
        }
        {
          assertion = !cfg.settings.metrics.enable || portOf httpListen != portOf metricsListen;
          message = "services.deskhand.settings: http.listen and metrics.listen have the same port.";
        }
        {
          assertion = lib.all (name: builtins.match "[A-Za-z0-9._-]+" name != null) (lib.attrNames cfg.targets);
          message = "services.deskhand.targets: names are made of letters, digits and ._- only.";
        }
      ];

      services.deskhand.settings = {
        rendezvous.enable = lib.mkForce cfg.rendezvous.enable;
        http = mkIf (cfg.tls.certificateFile != null) { tls_cert = toString cfg.tls.certificateFile; };
      };

      systemd.services.deskhand = {
        description = "Deskhand gateway";
        documentation = [ "https://github.com/deskhand/deskhand" ];
        wantedBy = [ "multi-user.target" ];
        wants = [ "network-online.target" ];
        after = [ "network-online.target" ];
        inherit environment;
        restartTriggers = [ configFile ];
        serviceConfig = import ./hardening.nix // {
          Type = "notify";
          ExecStart = "${lib.getExe cfg.package} serve --config ${configFile} --state %S/deskhand";
          ExecReload = "${pkgs.coreutils}/bin/kill -HUP $MAINPID";
          KillSignal = "SIGTERM";
          TimeoutStopSec = 30;
          Restart = "on-failure";
          RestartSec = 2;
          RestartSteps = 5;
          RestartMaxDelaySec = 60;
          WatchdogSec = 30;
          DynamicUser = true;
          StateDirectory = "deskhand";
          StateDirectoryMode = "0700";
          RuntimeDirectory = "deskhand";
          RuntimeDirectoryMode = "0700";
          LimitNOFILE = 65536;
          LoadCredential = lib.mapAttrsToList (name: path: "${name}:${toString path}") credentials;
          EnvironmentFile = lib.optional (cfg.environmentFile != null) cfg.environmentFile;
        };
      };

      environment.systemPackages = [ cfg.package ];
    }

    (mkIf (cfg.rendezvous.importFrom != null) {
      # As root: the other server's files are for its own user alone.
      systemd.services.deskhand-import = {
        description = "Key and peers of an earlier rustdesk-server for Deskhand";
        before = [ "deskhand.service" ];
        requiredBy = [ "deskhand.service" ];
        unitConfig.ConditionPathExists = "!/var/lib/private/deskhand/rendezvous/id_ed25519";
        serviceConfig = {
          Type = "oneshot";
          UMask = "0077";
        };
        script = ''
          state=/var/lib/private/deskhand
          mkdir -p "$state/rendezvous"
          for file in id_ed25519 id_ed25519.pub db_v2.sqlite3; do
            if [ -e "${toString cfg.rendezvous.importFrom}/$file" ]; then
              cp "${toString cfg.rendezvous.importFrom}/$file" "$state/rendezvous/$file"
            fi
          done
          chown -R --reference="$state" "$state/rendezvous"
        '';
      };
    })

    (mkIf cfg.openFirewall {
      networking.firewall = mkMerge [
        (mkIf cfg.rendezvous.enable {
          allowedTCPPorts = map (offset: rendezvousPort + offset) [
            (-1)
            0
            1
            2
            3
          ];
          allowedUDPPorts = [ rendezvousPort ];
        })
        (mkIf (!isLoopback httpListen) { allowedTCPPorts = [ (portOf httpListen) ]; })
      ];
    })

    (mkIf (cfg.settings.metrics.enable && config.services.prometheus.enable) {
      services.prometheus.scrapeConfigs = [
        (
          {
            job_name = "deskhand";
            static_configs = [ { targets = [ metricsListen ]; } ];
          }
          // lib.optionalAttrs (cfg.metricsTokenFile != null) {
            authorization.credentials_file = toString cfg.metricsTokenFile;
          }
        )
      ];
    })
  ]);
}
