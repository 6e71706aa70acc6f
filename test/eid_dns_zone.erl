%% Sets the records of the rig's DNS servers (test/rig, `rig dns'). Addresses take effect at once,
%% and SRV records after a reload.
-module(eid_dns_zone).

-export([start/1, stop/0, addresses/2, services/2, clear/0]).

%% Starts the servers. `Ttl' is the time to live of all records, in seconds.
-spec start(Ttl :: non_neg_integer()) -> ok.
start(Ttl) -> rig(["dns start ", integer_to_list(Ttl)]).

-spec stop() -> ok.
stop() -> rig("dns stop").

%% Replaces the A and AAAA records of a name. An empty list removes the name.
-spec addresses(Name :: string(), [string()]) -> ok.
addresses(Name, []) ->
    case file:delete(hosts_file(Name)) of
        ok -> ok;
        {error, enoent} -> ok
    end;
addresses(Name, Ips) ->
    replace(hosts_file(Name), [[Ip, " ", Name, "\n"] || Ip <- Ips]).

%% Replaces all SRV records. Only this name has records afterwards.
-spec services(Name :: string(), [{Target :: string(), inet:port_number()}]) -> ok.
services(Name, Targets) ->
    replace(filename:join(folder(), "records"),
            [io_lib:format("srv-host=~s,~s,~b~n", [Name, Target, Port]) || {Target, Port} <- Targets]),
    rig("dns reload").

-spec clear() -> ok.
clear() ->
    _ = [file:delete(File) || File <- filelib:wildcard(filename:join([folder(), "hosts", "*"]))],
    ok = file:write_file(filename:join(folder(), "records"), "").

hosts_file(Name) -> filename:join([folder(), "hosts", Name]).

%% Writes a new file and renames it, so that the server never reads half a file.
replace(File, Lines) ->
    New = filename:join(folder(), "new"),
    ok = file:write_file(New, Lines),
    ok = file:rename(New, File).

%% The directory does not change while this VM runs, so it is cached.
folder() ->
    case persistent_term:get(?MODULE, none) of
        none ->
            Folder = eid_rig:info("dns.folder"),
            persistent_term:put(?MODULE, Folder),
            Folder;
        Folder -> Folder
    end.

rig(Command) ->
    {0, _} = eid_rig:command(Command),
    ok.
