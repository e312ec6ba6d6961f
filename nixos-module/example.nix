# A whole machine: gateway, rendezvous server and relay, behind a reverse proxy, watched by Prometheus.
{ config, ... }:
{
  boot.isContainer = true;
  networking.hostName = "deskhand";
  system.stateVersion = "26.05";

  services.deskhand = {
    enable = true;
    openFirewall = true;
    settings = {
      http.public_url = "https://deskhand.example.com";
      policy.rules = [
        {
          targets = "tag:payroll";
          classes = [ "interact" ];
          verdict = "ask";
          reason = "people's salaries";
        }
      ];
    };
    rendezvous.enable = true;
    targets.office = {
      address = "123456789";
      passwordFile = "/run/secrets/office";
      tags = [ "payroll" ];
      description = "The accountant's machine";
    };
  };

  services.nginx = {
    enable = true;
    virtualHosts."deskhand.example.com" = {
      forceSSL = true;
      enableACME = true;
      locations."/" = {
        proxyPass = "http://${config.services.deskhand.settings.http.listen}";
        proxyWebsockets = true;
        # Answers are streams that may be silent for long.
        extraConfig = ''
          proxy_buffering off;
          proxy_read_timeout 1h;
        '';
      };
    };
  };
  security.acme = {
    acceptTerms = true;
    defaults.email = "admin@example.com";
  };

  services.prometheus.enable = true;
}
