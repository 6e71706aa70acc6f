import Config

# The Docker hosts, with spaces between them.
if hosts = System.get_env("DOCKER_HOSTS") do
  config :eid,
    clusters: [
      %{name: :shop, strategy: {:docker, %{hosts: String.split(hosts), label: "eid.cluster=shop"}}}
    ]
end
