defmodule Shop.MixProject do
  use Mix.Project

  def project do
    [
      app: :shop,
      version: "1.0.0",
      elixir: "~> 1.14",
      # In a project of your own: {:eid, git: "https://example.org/eid.git", manager: :rebar3}
      deps: [{:eid, path: "../..", manager: :rebar3}],
      releases: [shop: [include_executables_for: [:unix]]]
    ]
  end

  # :ssl is for TLS between the nodes.
  def application, do: [extra_applications: [:logger, :ssl]]
end
