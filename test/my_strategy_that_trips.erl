%% A discovery strategy as somebody writes it at first: it has no sentence for wrong options.
-module(my_strategy_that_trips).

-behaviour(eid_discovery).

-export([init/1, list/1]).

init(#{file := File}) -> File.

list(File) -> {#{nodes => []}, File}.
