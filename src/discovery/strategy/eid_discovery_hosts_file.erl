%% @doc Discovery strategy: the hosts in `.hosts.erlang', `{hosts_file, #{}}' or `{hosts_file, #{file => Path}}'.
%%
%% Each host is asked for its nodes by {@link eid_epmd:names/1}: its Docker Engine for the containers that publish
%% their erlang port, or its epmd where the routes say so. Without `file' it is where `net_adm:host_file/0' looks: in the
%% current folder, the home folder, and OTP's root.
-module(eid_discovery_hosts_file).

-behaviour(eid_discovery).

-export([init/1, list/1]).

-record(state, {file :: file:name_all() | standard,
                names = #{} :: #{Host :: binary() => [Node :: binary()]}}).    % what each host has said last

%% @private
-spec init(term()) -> #state{}.
init(Options) ->
    #{file := File} = eid_discovery_config:options(hosts_file, Options,
                                           #{file => {standard, fun is_file/1, "the name of a file"}}),
    #state{file = File}.

is_file(File) -> is_binary(File) orelse io_lib:printable_unicode_list(File).

%% The file is read again each time, so that it can be changed.
%% @private
-spec list(#state{}) -> {eid_discovery:answer(), #state{}}.
list(#state{names = Before} = State) ->
    case hosts(State#state.file) of
        {ok, Hosts} ->
            Answers = eid_tasks:map(fun(Host) -> {Host, names(Host)} end, Hosts),
            Names = maps:merge(maps:with(Hosts, Before), maps:from_list([{Host, Nodes} || {Host, {ok, Nodes}} <- Answers])),
            {#{nodes => lists:append(maps:values(Names)),
               partial => map_size(Names) < length(lists:usort(Hosts)),
               problems => [{Host, eid:format_error(Reason)} || {Host, {error, Reason}} <- Answers]},
             State#state{names = Names}};
        {error, File, Reason} ->
            {#{nodes => unchanged, problems => [{File, problem(Reason)}]}, State}
    end.

hosts(standard) ->
    case net_adm:host_file() of
        {error, Reason} -> {error, ".hosts.erlang", Reason};
        Hosts -> {ok, [host_text(Host) || Host <- Hosts]}
    end;
hosts(File) ->
    case file:consult(File) of
        {ok, Hosts} -> {ok, [host_text(Host) || Host <- Hosts]};
        {error, Reason} -> {error, File, Reason}
    end.

%% Whatever else is in the file is no host, and its name will say so.
host_text(Host) when is_atom(Host) -> atom_to_binary(Host);
host_text(Host) ->
    try
        Text = unicode:characters_to_binary(Host),
        true = is_binary(Text),
        Text
    catch error:_ -> unicode:characters_to_binary(io_lib:format("~0tp", [Host]))
    end.

names(Host) ->
    case eid_epmd:names(binary_to_list(Host)) of
        {ok, Names} ->
            {ok, [<<Name/binary, "@", Host/binary>> || Name <- [list_to_binary(Text) || {Text, _Port} <- Names],
                                                       not eid_own_name:is_own_container(Name)]};
        {error, _} = Error -> Error
    end.

problem(Reason) ->
    [file:format_error(Reason), ". The file has a line 'HOST'. for each host, in quotes and with a full stop."].
