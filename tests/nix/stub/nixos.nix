# A machine with as much of NixOS as our module touches; its units come out as files.
{ lib, pkgs }:
{
  modules,
  system ? "x86_64-linux",
}:
let
  inherit (lib) mkOption types;
  anything =
    default:
    mkOption {
      type = types.value;
      inherit default;
    };
  unit = types.submodule {
    options = {
      description = mkOption {
        type = types.str;
        default = "";
      };
      documentation = mkOption {
        type = types.listOf types.str;
        default = [ ];
      };
      path = mkOption {
        type = types.listOf types.package;
        default = [ ];
      };
      script = mkOption {
        type = types.lines;
        default = "";
      };
      environment = mkOption {
        type = types.attrsOf types.str;
        default = { };
      };
      serviceConfig = anything { };
      unitConfig = anything { };
      restartTriggers = mkOption {
        type = types.listOf types.raw;
        default = [ ];
      };
    }
    // lib.genAttrs [
      "wantedBy"
      "requiredBy"
      "partOf"
      "wants"
      "after"
      "before"
    ] (_: mkOption {
      type = types.listOf types.str;
      default = [ ];
    });
  };
  base = {
    options = {
      assertions = mkOption {
        type = types.listOf types.raw;
        default = [ ];
      };
      nixpkgs.overlays = mkOption {
        type = types.listOf types.raw;
        default = [ ];
      };
      boot = anything { };
      system.stateVersion = mkOption { type = types.str; };
      networking.hostName = mkOption {
        type = types.str;
        default = "nixos";
      };
      networking.firewall = {
        allowedTCPPorts = mkOption {
          type = types.listOf types.port;
          default = [ ];
        };
        allowedUDPPorts = mkOption {
          type = types.listOf types.port;
          default = [ ];
        };
      };
      environment.systemPackages = mkOption {
        type = types.listOf types.package;
        default = [ ];
      };
      environment.etc = anything { };
      security.acme = anything { };
      services.nginx = anything { };
      services.prometheus = {
        enable = lib.mkEnableOption "Prometheus";
        scrapeConfigs = anything [ ];
      };
      services.rustdesk-server.enable = lib.mkEnableOption "rustdesk-server";
      systemd.services = mkOption {
        type = types.attrsOf unit;
        default = { };
      };
      systemd.user.services = mkOption {
        type = types.attrsOf unit;
        default = { };
      };
    };
  };
  evaluated = lib.evalModules {
    modules = [ base ] ++ modules;
    specialArgs.pkgs = pkgs;
  };
  inherit (evaluated) config;

  text = value: if value == true then "true" else if value == false then "false" else toString value;
  lines =
    name: value:
    if builtins.isList value then
      lib.concatStringsSep "" (map (one: "${name}=${text one}\n") value)
    else
      "${name}=${text value}\n";
  section = attrs: lib.concatStringsSep "" (lib.mapAttrsToList lines attrs);
  render =
    name: unit:
    pkgs.writeText "${name}.service" ''
      [Unit]
      ${lines "Description" unit.description}${lines "Documentation" unit.documentation}${section unit.unitConfig}
      ${lines "Wants" unit.wants}${lines "After" unit.after}${lines "Before" unit.before}${lines "PartOf" unit.partOf}
      [Service]
      ${lib.concatStringsSep "" (
        lib.mapAttrsToList (name: value: "Environment=\"${name}=${value}\"\n") unit.environment
      )}${
        section (
          unit.serviceConfig
          // lib.optionalAttrs (unit.script != "") {
            ExecStart = pkgs.writeScript "${name}-start" "#!/bin/sh -e\n${unit.script}";
          }
        )
      }
    '';
  units = lib.mapAttrs render config.systemd.services;
  userUnits = lib.mapAttrs (name: render "user-${name}") config.systemd.user.services;
  failed = lib.filter (assertion: !assertion.assertion) config.assertions;
in
{
  inherit (evaluated) options;
  config = config // {
    system.build.toplevel =
      if failed != [ ] then
        throw "Failed assertions:\n${lib.concatStringsSep "\n" (map (a: "- ${a.message}") failed)}"
      else
        pkgs.runCommand "nixos-${system}" { } ''
          mkdir -p $out/units $out/user-units
          ${lib.concatStringsSep "\n" (
            lib.mapAttrsToList (name: file: "cp ${file} $out/units/${name}.service") units
            ++ lib.mapAttrsToList (name: file: "cp ${file} $out/user-units/${name}.service") userUnits
          )}
        '';
  };
}
