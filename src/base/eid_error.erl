%% @doc Formats the reasons why a node can't be found or connected as sentences for people.
-module(eid_error).

-export([format/1, is_reason/1]).

%% @doc Two sentences: the cause, and what to do next. See {@link eid:format_error/1}.
-spec format(eid:reason()) -> string().
format(Reason) -> lists:flatten(text(Reason)).

text(bad_node_name) ->
    "the node name is not of the form Container@Host: a container's ID or name (letters, digits, "
    "_ and -), @, and its Docker host's IP address or DNS name. Correct it: docker ps shows ID and "
    "name.";
text(host_not_allowed) ->
    "the host is not in {eid, [{allowed_hosts, ...}]}, so nothing was sent to it. Add it there if "
    "it should be reached.";
text(unknown_host) ->
    "the host part of the node name has no address of the carrier's family. Check the name in DNS "
    "and /etc/hosts, or use the host's IP address.";
text(no_such_container) ->
    "the Docker Engine on that host knows no such container. Compare the name with docker ps -a "
    "there: the container may have been removed, or replaced under a new ID.";
text(not_running) ->
    "the container is there, but it is not running. Read docker logs for the reason why it "
    "stopped, and start it with docker start.";
text(not_published) ->
    "the container runs, but does not publish its distribution port. Start it with docker run -p "
    "HOST_IP::12345, and look with docker port which ports it has (-kernel erlang_port must be the "
    "same on all nodes).";
text(published_on_loopback) ->
    "the container's distribution port is published on the host's loopback address only, so no "
    "other host can reach it. Start it with docker run -p HOST_IP::12345.";
text(published_elsewhere) ->
    "the container's distribution port is published, but not on the address in the node name. "
    "Compare docker port with the node name: publish on that address, or name the node after the "
    "address on which it is published.";
text({unreachable, {Subject, Detail}}) ->
    io_lib:format("the host can't be asked where the node is: ~ts. ~ts",
                  [Detail, advice(Subject)]);
text({refused, 401, Message}) ->
    io_lib:format("the Docker API, or a proxy in front of it, demands a token (HTTP 401: ~ts). "
                  "Check the token in the file of {eid, [{engine_token_file, File}]}; eid does not "
                  "send it over tcp://.", [Message]);
text({refused, Status, Message}) ->
    io_lib:format("the Docker Engine, or a proxy in front of it, refused to answer (HTTP ~b: ~ts). "
                  "Allow GET of /_ping, /events, /containers/json and /containers/*/json there.",
                  [Status, Message]);
text(bad_response) ->
    "the Docker API's address did not answer as a Docker Engine does, or with more than {eid, "
    "[{max_response_size, ...}]} bytes. Check which program listens at the address of {eid, "
    "[{engines, ...}]} or on -kernel docker_daemon_port.";
text(timeout) ->
    "there was no answer in time. Check that the host is up, that a firewall does not drop the "
    "packets to its Docker API, and that docker ps answers there.";
text({dial, #{ip := Ip, port := Port, route := Route}, Posix}) ->
    io_lib:format("it was found (~ts), but dialling ~ts port ~b failed: ~ts. ~ts",
                  [Route, inet:ntoa(Ip), Port, posix(Posix), dial_advice(Posix)]);
text({handshake, bad_cookie}) ->
    "the node hung up on this node's cookie. Give both the same one with -setcookie or "
    "~/.erlang.cookie; if they are the same, the node was just ending.";
text({handshake, not_allowed}) ->
    "the node does not allow this node to connect. Look at net_kernel:allow/1 there.";
text({handshake, timeout}) ->
    "the peer took the connection, but did not finish the handshake in time. Check that the Erlang "
    "node in that container is alive, or raise -kernel net_setuptime.";
text({handshake, {another_node, Name}}) ->
    io_lib:format("another node answered: it calls itself ~0tp. Start the node with -name "
                  "ContainerID@HostIP as it is addressed, or address it as it calls itself.",
                  [Name]);
text({handshake, Why}) ->
    io_lib:format("the peer took the connection, but the handshake failed: ~0tp. Check that an "
                  "Erlang node of OTP 25 or newer, with the same kind of carrier, listens in that "
                  "container.", [Why]);
text(Other) ->
    io_lib:format("~0tp", [Other]).

%% The subjects of {@link eid:subject()}.
advice(epmd) ->
    "Check that the node runs, with epmd, and that no firewall is between.";
advice(changed_library) ->
    "Restart this node: until then it keeps its connections and looks up no nodes.";
advice(library) ->
    "Copy eid's priv folder with the library itself, not a link to it, built for this system's C "
    "library.";
advice(certificates) ->
    "Check ca.pem, cert.pem and key.pem in the folder of {eid, [{engine_certs, Folder}]} or "
    "DOCKER_CERT_PATH, and the certificate of the engine itself.";
advice(token_file) ->
    "Check the file that {eid, [{engine_token_file, File}]} names.";
advice(socket) ->
    "Check that the engine's socket is mounted into this container (docker run -v "
    "/var/run/docker.sock:/var/run/docker.sock) and that this user may open it.";
advice(defect) ->
    "This is a fault in eid. Please report it.";
advice(_Network) ->
    "Check that its Docker API listens at the address of {eid, [{engines, ...}]} or on -kernel "
    "docker_daemon_port (port 4243 by default), and that no firewall is between.".

posix(timeout) -> "no answer in time";
posix(Posix) -> inet:format_error(Posix).

dial_advice(econnrefused) ->
    "Nothing listens there: check that the node runs in its container and has the same "
    "distribution port (-kernel erlang_port).";
dial_advice(_) ->
    "Check the network and the firewalls between this container and that host, for that port.".

%% @doc True if a term is one of the reasons, and not the exit reason of another fault.
-spec is_reason(term()) -> boolean().
is_reason({unreachable, _}) -> true;
is_reason({refused, _, _}) -> true;
is_reason({dial, _, _}) -> true;
is_reason({handshake, _}) -> true;
is_reason(Reason) ->
    lists:member(Reason, [bad_node_name, host_not_allowed, unknown_host, no_such_container,
                          not_running, not_published, published_on_loopback,
                          published_elsewhere, bad_response, timeout]).
