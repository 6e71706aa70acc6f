import Config

# The Docker hosts, with spaces between them, or as examples/release has them: with commas, in quotation marks. Nothing is sent to any
# other host because of a node's name.
if hosts = System.get_env("DOCKER_HOSTS") do
  hosts = String.split(hosts, [" ", ",", "\""], trim: true)

  config :eid,
    allowed_hosts: hosts,
    clusters: [%{name: :shop, strategy: {:docker, %{hosts: hosts, label: "eid.cluster=shop"}}}]
end

# Where there are certificates, `eid serve` is asked with them, and not Docker's own API on port 4243.
if File.exists?("/etc/eid/cert.pem") do
  config :eid, engines: %{default: "https://{host}:2376"}, engine_certs: "/etc/eid"
end
