# services.deskhand: the gateway (with its own rendezvous server and relay, if wanted) and the controlled host.
{
  imports = [
    ./gateway.nix
    ./host.nix
  ];
}
