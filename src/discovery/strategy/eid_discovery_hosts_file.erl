%% @doc Discovery strategy: the hosts in `.hosts.erlang', `{hosts_file, #{}}' or `{hosts_file,
%% #{file => Path}}'.
%%
%% It asks each host for its nodes by {@link eid_epmd:names/1}: the Docker Engine for the containers
%% that publish their distribution port, or epmd if the routes demand it. Without `file' it looks
%% where `net_adm:host_file/0' looks: in the current, the home, and OTP's root directory.
-module(eid_discovery_hosts_file).

-behaviour(eid_discovery).

-export([init/1, list/1]).

-record(state, {file :: file:name_all() | standard,
                names = #{} :: #{Host :: binary() => [Node :: binary()]}}).    % last answers

init(Options) ->
    Known = #{file => {standard, fun is_file/1, "the name of a file"}},
    #{file := File} = eid_discovery:options(hosts_file, Options, Known),
    #state{file = File}.

is_file(File) -> is_binary(File) orelse io_lib:printable_unicode_list(File).

%% It reads the file each time, so that the file can be changed.
list(#state{names = Before} = State) ->
    case hosts(State#state.file) of
        {ok, Hosts} ->
            Answers = eid_tasks:map(fun(Host) -> {Host, names(Host)} end, Hosts),
            Answered = maps:from_list([{Host, Nodes} || {Host, {ok, Nodes}} <- Answers]),
            Names = maps:merge(maps:with(Hosts, Before), Answered),
            {#{nodes => lists:append(maps:values(Names)),
               partial => map_size(Names) < length(lists:usort(Hosts)),
               problems => [{Host, eid:format_error(Reason)}
                            || {Host, {error, Reason}} <- Answers]},
             State#state{names = Names}};
        {error, File, Reason} ->
            {#{nodes => unchanged, problems => [{File, problem(Reason)}]}, State}
    end.

%% Any other term in the file is not a host. Its lookup will report this.
hosts(standard) ->
    case net_adm:host_file() of
        {error, Reason} -> {error, ".hosts.erlang", Reason};
        Hosts -> {ok, [eid_text:show(Host) || Host <- Hosts]}
    end;
hosts(File) ->
    case file:consult(File) of
        {ok, Hosts} -> {ok, [eid_text:show(Host) || Host <- Hosts]};
        {error, Reason} -> {error, File, Reason}
    end.

names(Host) ->
    case eid_epmd:names(binary_to_list(Host)) of
        {ok, Names} ->
            {ok, [<<Name/binary, "@", Host/binary>>
                  || Name <- [list_to_binary(Text) || {Text, _Port} <- Names],
                     not eid_own_name:is_own_container(Name)]};
        {error, _} = Error -> Error
    end.

problem(Reason) ->
    [file:format_error(Reason), ". The file has a line 'HOST'. for each host, in quotes and with a "
     "full stop."].
