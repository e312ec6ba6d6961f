# The OCI image from the flake. docker/build.py makes one with the same settings from a Debian build, without Nix.
{
  lib,
  dockerTools,
  deskhand,
  cacert,
  runCommand,
  created,
  revision,
}:
let
  metadata = lib.importJSON ./image.json;
in
dockerTools.buildLayeredImage {
  name = "deskhand";
  tag = deskhand.version;
  created = "@${toString created}";
  contents = [
    deskhand
    cacert
    (runCommand "deskhand-root" { } ''
      mkdir -p $out/etc $out/data $out/tmp
      echo 'deskhand:x:${metadata.user}:${metadata.user}::/data:/none' > $out/etc/passwd
      echo 'deskhand:x:${metadata.user}:' > $out/etc/group
    '')
  ];
  # Owned by the user, or a new volume would not be his to write.
  fakeRootCommands = ''
    chown ${metadata.user}:${metadata.user} ./data
    chmod 0700 ./data
    chmod 1777 ./tmp
  '';
  config = {
    User = "${metadata.user}:${metadata.user}";
    Entrypoint = [ "/bin/deskhand" ];
    Cmd = metadata.command;
    Env = lib.mapAttrsToList (name: value: "${name}=${value}") metadata.environment ++ [
      "SSL_CERT_FILE=${cacert}/etc/ssl/certs/ca-bundle.crt"
    ];
    ExposedPorts = lib.genAttrs metadata.ports (_: { });
    Volumes."/data" = { };
    WorkingDir = "/data";
    StopSignal = metadata.stopSignal;
    Labels = metadata.labels // {
      "org.opencontainers.image.version" = deskhand.version;
      "org.opencontainers.image.revision" = revision;
    };
  };
}
