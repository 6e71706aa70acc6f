%% @doc Writes the status data as a page for people. It escapes every text that comes from outside.
-module(eid_status_html).

-export([render/1, security_policy/0]).

-type html() :: unicode:chardata().
-type level() :: ok | wait | bad | idle.

%% @doc The Content-Security-Policy: the page loads its style, its script, its icon and itself.
-spec security_policy() -> string().
security_policy() ->
    "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src data:; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'".

%% @doc The page in UTF-8.
-spec render(eid_status_data:data()) -> binary().
render(#{node := #{name := Name}} = Data) ->
    {ok, Page} = eid_text:parse(
      ["<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
       "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n"
       "<title>", headline(Data), " · ", escape(Name), "</title>\n"
       "<link rel=\"icon\" href=\"", icon(), "\">\n"
       "<link rel=\"stylesheet\" href=\"status.css\">\n"
       "<noscript><meta http-equiv=\"refresh\" content=\"5\"></noscript>\n"
       "</head>\n<body>\n<p id=\"lost\" role=\"alert\" hidden></p>\n<main>\n",
       head(Data), summary(Data), peers(Data), clusters(Data), engines(Data), foot(Data),
       "</main>\n<script src=\"status.js\"></script>\n</body>\n</html>\n"]),
    Page.

icon() ->
    "data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 16 16'%3E%3Cg "
        "stroke='%2314803f' stroke-width='1.5'%3E%3Cpath d='M4 4.5l8 0M4 4.5l4 8M12 4.5l-4 8'/%3E"
        "%3C/g%3E%3Cg fill='%2314803f'%3E%3Ccircle cx='4' cy='4.5' r='2.5'/%3E%3Ccircle cx='12' "
        "cy='4.5' r='2.5'/%3E%3Ccircle cx='8' cy='12' r='2.5'/%3E%3C/g%3E%3C/svg%3E".

head(#{now := Now, node := #{name := Name, otp_release := Otp, eid_version := Version,
                             carrier := Carrier, started := Started}}) ->
    Facts = [{"OTP", escape(Otp)}, {"eid", escape(Version)}, {"carrier", escape(Carrier)},
             {"up", since(Started, Now)}],
    ["<header>\n<p class=\"brand\">eid status</p>\n<h1>", node_name(Name), "</h1>\n"
     "<dl class=\"facts\">\n",
     [["<div><dt>", Fact, "</dt><dd>", Value, "</dd></div>\n"] || {Fact, Value} <- Facts],
     "</dl>\n</header>\n"].

summary(#{readiness := Readiness} = Data) ->
    Level = atom_to_list(level(Data)),
    ["<section class=\"summary\" aria-label=\"Summary\">\n<p class=\"headline\" role=\"status\">"
     "<span class=\"dot ", Level, " ", Level, "\" aria-hidden=\"true\"></span><span>",
     headline(Data), "</span></p>\n<p class=\"more\">", readiness(Readiness), "</p>\n",
     case problems(Data) of
         [] -> "";
         Problems -> ["<ul>\n", [["<li><a href=\"#", Where, "\">", Text, "</a></li>\n"]
                                 || {Where, Text} <- Problems], "</ul>\n"]
     end,
     "</section>\n"].

headline(#{peers := Peers}) ->
    Connected = [Peer || #{state := connected} = Peer <- Peers],
    Listed = [Peer || #{clusters := [_ | _]} = Peer <- Peers],
    case {length(Listed), length(Connected)} of
        {0, 0} -> "No peers";
        {0, N} -> [counted(N, "peer"), " connected"];
        {All, N} ->
            There = length([Peer || #{state := connected} = Peer <- Listed]),
            [integer_to_list(There), " of ", counted(All, "peer"), " connected",
             case N - There of
                 0 -> "";
                 Others -> [", and ", counted(Others, "other")]
             end]
    end.

readiness(#{required := 0}) -> "Ready; it needs no peers for that";
readiness(#{ready := true, required := Required}) ->
    ["Ready; it needs ", counted(Required, "peer"), " for that"];
readiness(#{ready := false, required := Required, connected := Connected}) ->
    ["Not ready; it needs ", counted(Required, "peer"), " and has ", integer_to_list(Connected)].

-spec level(eid_status_data:data()) -> level().
level(#{readiness := #{ready := false}}) -> bad;
level(Data) ->
    case problems(Data) of
        [] -> ok;
        _ -> wait
    end.

problems(#{peers := Peers, clusters := Clusters, engines := Engines}) ->
    Away = length([away || #{state := State} <- Peers, State =/= connected]),
    [{"peers", [counted(Away, "peer"), " not connected"]} || Away > 0]
        ++ [{["cluster-", id(Name)],
             ["The ", escape(Strategy), " strategy of ", escape(Name), " has a problem"]}
            || #{name := Name, strategy := Strategy, error := #{}} <- Clusters]
        ++ [{"engines", ["The engine at ", escape(Endpoint), " has a problem"]}
            || #{endpoint := Endpoint, error := Error} <- Engines, Error =/= none].

peers(#{now := Now, peers := Peers, clusters := Clusters}) ->
    {There, Away} = lists:partition(fun(#{state := State}) -> State =:= connected end, Peers),
    section("peers", "Peers", [peer(Peer, Now, length(Clusters)) || Peer <- Away ++ There],
            fun(Rows) -> table("peers", [{"Node", ""}, {"State", ""}, {"Route", ""},
                                         {"Address", ""}, {"Connected for", "number"},
                                         {"Round trip", "number"}], Rows)
            end, "No node is connected, and no cluster lists one.").

peer(#{node := Node, state := State, since := Since, route := Route, ip := Ip, port := Port,
       round_trip := RoundTrip, error := Error} = Peer, Now, Clusters) ->
    Level = case State of
                connected -> ok;
                _ when Error =/= none -> bad;
                _ -> wait
            end,
    {["peer-", id(Node)],
     ["<span class=\"who\">", node_name(Node), [chip(Text) || Text <- chips(Peer, Clusters)],
      "</span>"],
     [{"State", "short", state(Level, atom_to_list(State))},
      {"Route", "short", if_known(Route, fun atom_to_list/1)},
      {"Address", "address",
       if_known(Ip, fun(_) -> ["<code>", address(Ip, Port), "</code>"] end)},
      {"Connected for", "number", if_known(Since, fun(Then) -> since(Then, Now) end)},
      {"Round trip", "number", if_known(RoundTrip, fun milliseconds/1)}],
     problem(Error)}.

if_known(none, _Format) -> none;
if_known(Value, Format) -> Format(Value).

%% The names of the clusters appear only if there are several.
chips(#{hidden := Hidden, clusters := Names}, Clusters) ->
    ["hidden" || Hidden]
        ++ ["not listed" || Names =:= [], Clusters > 0]
        ++ [escape(Name) || Clusters > 1, Name <- Names].

clusters(#{now := Now, clusters := Clusters}) ->
    section("clusters", "Clusters", [cluster(Cluster, Now) || Cluster <- Clusters],
            fun(Cards) -> ["<div class=\"cards\">\n", Cards, "</div>\n"] end,
            "No cluster is configured: nodes connect when a process names them.").

cluster(#{name := Name, strategy := Strategy, nodes := Nodes, answered := Answered,
          error := Error}, Now) ->
    Level = case {Answered, Error} of
                {none, none} -> wait;
                {_, none} -> ok;
                {_, _} -> bad
            end,
    Text = case Answered of
               none -> "no answer yet";
               _ -> [counted(length(Nodes), "node"), ", answered ", since(Answered, Now), " ago"]
           end,
    ["<article class=\"card\" id=\"cluster-", id(Name), "\">\n<h3>", escape(Name),
     chip(escape(Strategy)), "</h3>\n", state(Level, Text), "\n",
     case Error of
         none -> "";
         #{text := Sentence, since := Since} ->
             ["<p class=\"error\">", sentence(Sentence), " (for ", since(Since, Now), ")</p>\n"]
     end,
     case Nodes of
         [] -> "";
         _ -> ["<details><summary>Its nodes</summary>\n<ul>\n",
               [["<li>", node_name(Node), "</li>\n"] || Node <- Nodes], "</ul></details>\n"]
     end,
     "</article>\n"].

engines(#{engines := Engines}) ->
    Figures = [{Column, "number"} || {Column, _} <- engine_figures()],
    section("engines", "Docker Engines", [engine(Engine) || Engine <- Engines],
            fun(Rows) -> table("engines", [{"Endpoint", ""}, {"State", ""} | Figures], Rows) end,
            "No engine has been asked yet.").

engine(#{endpoint := Endpoint, state := State, error := Error} = Engine) ->
    Level = case State of
                _ when Error =/= none -> bad;
                live -> ok;
                closed -> idle;
                _ -> wait
            end,
    {["engine-", id(Endpoint)],
     ["<span class=\"name\">", escape(Endpoint), "</span>"],
     [{"State", "short", state(Level, atom_to_list(State))}
      | [{Column, "number", Figure(Engine)} || {Column, Figure} <- engine_figures()]],
     problem(Error)}.

engine_figures() ->
    [{"Containers", fun(#{containers := N}) -> number(N) end},
     {"Events", fun(#{events := N}) -> number(N) end},
     {"Resyncs", fun(#{resyncs := N}) -> number(N) end},
     {"Requests", fun(#{requests := N}) -> number(N) end},
     {"Lookups", fun(#{lookups := Lookups}) -> number(lists:sum(maps:values(Lookups))) end},
     {"Median lookup", fun(#{lookups := Lookups}) when map_size(Lookups) =:= 0 -> none;
                          (#{latency := #{p50 := Median}}) -> microseconds(Median);
                          (_) -> none
                       end}].

foot(#{now := Now}) ->
    ["<footer>\n<p>As of ", time(Now, clock(Now)), " UTC</p>\n<nav aria-label=\"For programs\">",
     [["<a href=\"", Path, "\">", Path, "</a>\n"]
      || Path <- ["cluster.json", "metrics", "live", "ready"]],
     "</nav>\n</footer>\n"].

section(Id, Title, Items, Format, Empty) ->
    ["<section id=\"", Id, "\" aria-labelledby=\"", Id, "-title\">\n<h2 id=\"", Id, "-title\">",
     Title,
     case Items of
         [] -> ["</h2>\n<p class=\"none\">", Empty, "</p>\n"];
         _ -> [" <span class=\"soft\">", integer_to_list(length(Items)), "</span></h2>\n",
               Format(Items)]
     end, "</section>\n"].

%% The roles repeat the elements' meaning, because some browsers drop the meaning of a table that is
%% laid out as cards. A problem has its own row below the row of its subject.
-spec table(Id :: string(), [{Title :: string(), Class :: string()}],
            [{Id :: html(), Header :: html(),
              [{Label :: string(), Class :: string(), html() | none}],
              Problem :: html() | none}]) -> html().
table(Id, Columns, Rows) ->
    ["<table role=\"table\" aria-labelledby=\"", Id, "-title\">\n<thead role=\"rowgroup\">"
     "<tr role=\"row\">",
     [["<th role=\"columnheader\" scope=\"col\" class=\"", Class, "\">", Title, "</th>"]
      || {Title, Class} <- Columns],
     "</tr></thead>\n<tbody role=\"rowgroup\">\n",
     [row(Row, integer_to_list(length(Columns))) || Row <- Rows],
     "</tbody>\n</table>\n"].

row({Id, Header, Cells, none}, _Columns) ->
    row(Id, "", Header, Cells);
row({Id, Header, Cells, Problem}, Columns) ->
    [row(Id, "noted", Header, Cells),
     "<tr role=\"row\" class=\"note\" id=\"", Id, "-problem\"><td role=\"cell\" "
     "colspan=\"", Columns, "\">", Problem, "</td></tr>\n"].

row(Id, Class, Header, Cells) ->
    ["<tr role=\"row\" id=\"", Id, "\" class=\"", Class, "\"><th role=\"rowheader\" scope=\"row\">",
     Header, "</th>", [cell(Cell) || Cell <- Cells], "</tr>\n"].

cell({Label, Class, none}) ->
    cell({Label, [Class, " empty"], "–", " class=\"soft\""});
cell({Label, Class, Content}) ->
    cell({Label, Class, Content, ""});
cell({Label, Class, Content, Attribute}) ->
    ["<td role=\"cell\" class=\"", Class, "\" data-label=\"", Label, "\"><span", Attribute, ">",
     Content, "</span></td>"].

-spec state(level(), html()) -> html().
state(Level, Text) ->
    ["<span class=\"state ", atom_to_list(Level),
     "\"><span class=\"dot\" aria-hidden=\"true\"></span><span>", Text, "</span></span>"].

chip(Text) -> ["<span class=\"chip\">", Text, "</span>"].

problem(none) -> none;
problem(Text) -> ["<p class=\"error\">", sentence(Text), "</p>"].

%% eid's sentences begin with a small letter, because in the log they follow another text.
sentence(Text) ->
    [First | Rest] = string:next_grapheme(Text),
    [escape(unicode:characters_to_binary(string:titlecase([First]))), escape(Rest)].

node_name(Node) ->
    case string:split(Node, "@") of
        [Name, Host] -> ["<span class=\"name\">", escape(Name), "<span class=\"host\">@<wbr>",
                         escape(Host), "</span></span>"];
        [Name] -> ["<span class=\"name\">", escape(Name), "</span>"]
    end.

address(Ip, none) -> inet:ntoa(Ip);
address(Ip, Port) when tuple_size(Ip) =:= 8 ->
    ["[", inet:ntoa(Ip), "]<wbr>:", integer_to_list(Port)];
address(Ip, Port) -> [inet:ntoa(Ip), "<wbr>:", integer_to_list(Port)].

counted(1, Thing) -> ["1 ", Thing];
counted(N, Thing) -> [number(N), " ", Thing, "s"].

%% Groups of three digits with a narrow no-break space between.
number(N) when N < 1000 -> integer_to_list(N);
number(N) -> [number(N div 1000), 16#202F, string:pad(integer_to_list(N rem 1000), 3, leading, $0)].

milliseconds(Microseconds) ->
    Decimals = if
                   Microseconds < 100_000 -> 2;
                   true -> 0
               end,
    [float_to_list(Microseconds / 1000, [{decimals, Decimals}]), " ms"].

microseconds(Microseconds) when Microseconds < 10 ->
    [float_to_list(Microseconds / 1, [{decimals, 1}]), " µs"];
microseconds(Microseconds) when Microseconds < 1000 ->
    [integer_to_list(round(Microseconds)), " µs"];
microseconds(Microseconds) -> milliseconds(Microseconds).

since(Then, Now) -> time(Then, age(max(0, Now - Then) div 1000)).

age(S) when S < 60 -> [integer_to_list(S), " s"];
age(S) when S < 3600 -> [integer_to_list(S div 60), " min"];
age(S) when S < 86400 -> [integer_to_list(S div 3600), " h", rest(S rem 3600 div 60, " min")];
age(S) -> [number(S div 86400), " d", rest(S rem 86400 div 3600, " h")].

rest(0, _Unit) -> "";
rest(N, Unit) -> [$\s, integer_to_list(N), Unit].

time(Milliseconds, Text) ->
    Stamp = calendar:system_time_to_rfc3339(Milliseconds div 1000, [{offset, "Z"}]),
    ["<time datetime=\"", Stamp, "\" title=\"", Stamp, "\">", Text, "</time>"].

clock(Milliseconds) ->
    string:slice(calendar:system_time_to_rfc3339(Milliseconds div 1000, [{offset, "Z"}]), 11, 8).

%% An element's id of ASCII characters.
id(Text) -> uri_string:quote(Text).

escape(Text) ->
    << <<(escape_byte(Byte))/binary>> || <<Byte>> <= Text >>.

escape_byte($&) -> <<"&amp;">>;
escape_byte($<) -> <<"&lt;">>;
escape_byte($>) -> <<"&gt;">>;
escape_byte($") -> <<"&quot;">>;
escape_byte($') -> <<"&#39;">>;
escape_byte(Byte) -> <<Byte>>.
