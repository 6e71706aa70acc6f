%% Reads the report that cth_surefire writes, and prints three numbers: cases that passed, failed, and were skipped.
%% usage: junit.escript NAME REPORT FILE-OF-FAILURES FILE-OF-SKIPS
%% The two files get one line for each failure and each skip.
-mode(compile).

-include_lib("xmerl/include/xmerl.hrl").

main([Name, Report, Failures, Skips]) ->
    {Root, _} = xmerl_scan:file(Report, [{quiet, true}]),
    Results = [result(Suite, Case) || Suite <- xmerl_xpath:string("//testsuite", Root),
                                      Case <- xmerl_xpath:string("testcase", Suite)],
    Failed = [[Name, ": ", Case, $\n] || {failed, Case} <- Results],
    Skipped = [[Name, ": ", Case, ": ", Why, $\n] || {skipped, Case, Why} <- Results],
    ok = file:write_file(Failures, unicode:characters_to_binary(Failed), [append]),
    ok = file:write_file(Skips, unicode:characters_to_binary(Skipped), [append]),
    io:format("~b ~b ~b~n", [length([passed || passed <- Results]), length(Failed), length(Skipped)]).

result(Suite, Case) ->
    Name = attribute(name, Case),
    Label = [attribute(name, Suite), ":", Name],
    IsConfiguration = lists:member(Name, ["init_per_suite", "end_per_suite", "init_per_group", "end_per_group"]),
    case [{Kind, text(Element)} || #xmlElement{name = Kind} = Element <- Case#xmlElement.content] of
        [{skipped, _} | _] when IsConfiguration -> configuration;
        %% common_test skips cases whose configuration failed: no suite decided that.
        [{skipped, "{tc_auto_skip," ++ _} | _] -> {failed, [Label, " (did not run)"]};
        [{skipped, "{tc_user_skip," ++ Why} | _] -> {skipped, Label, string:trim(Why, trailing, "}")};
        [{skipped, Why} | _] -> {skipped, Label, Why};
        [_FailureOrError | _] -> {failed, Label};
        [] when IsConfiguration -> configuration;
        [] -> passed
    end.

attribute(Name, #xmlElement{attributes = Attributes}) ->
    #xmlAttribute{value = Value} = lists:keyfind(Name, #xmlAttribute.name, Attributes),
    Value.

text(#xmlElement{content = Content}) ->
    Text = lists:append([Value || #xmlText{value = Value} <- Content]),
    lists:flatten(string:replace(string:trim(Text), "\n", " ", all)).
