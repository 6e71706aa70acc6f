%% A discovery strategy as a beginner may write it: init/1 crashes on wrong options and explains
%% nothing.
-module(my_strategy_that_trips).

-behaviour(eid_discovery).

-export([init/1, list/1]).

init(#{file := File}) -> File.

list(File) -> {#{nodes => []}, File}.
