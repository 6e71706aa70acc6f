%% In the place of your own application.
-module(shop).

-export([peers/0]).

%% The nodes of the cluster, but this one.
peers() -> nodes().
