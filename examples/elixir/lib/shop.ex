defmodule Shop do
  @moduledoc "In the place of your own application."

  @doc "The nodes of the cluster, but this one."
  def peers, do: Node.list()
end
