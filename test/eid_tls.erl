%% Makes certificates for TLS distribution with openssl, and the option file for them.
-module(eid_tls).

-export([options/2]).

%% Makes a certificate authority, and one certificate for all of these addresses, in a directory.
%% Returns the name of the -ssl_dist_optfile. An address needs both kinds of subject alternative
%% names: some releases of OTP compare a node's host part as a DNS name, others as an address.
options(Dir, Addresses) ->
    Names = lists:join(",", [[Kind, Address] || Address <- Addresses, Kind <- ["DNS:", "IP:"]]),
    openssl(Dir, "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=eid-ca "
            "-keyout ca.key -out ca.pem -addext keyUsage=keyCertSign,cRLSign"),
    openssl(Dir, "req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=eid "
            "-keyout key.pem -out cert.csr"),
    ok = file:write_file(filename:join(Dir, "ext"), ["subjectAltName=", Names]),
    openssl(Dir, "x509 -req -in cert.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 "
            "-extfile ext -out cert.pem"),
    Side = [{certfile, file(Dir, "cert.pem")}, {keyfile, file(Dir, "key.pem")},
            {cacertfile, file(Dir, "ca.pem")}, {verify, verify_peer}],
    OptFile = file(Dir, "ssl_dist.conf"),
    ok = file:write_file(OptFile, io_lib:format("~p.~n", [[{server, [{fail_if_no_peer_cert, true} | Side]},
                                                           {client, Side}]])),
    OptFile.

file(Dir, Name) -> filename:join(Dir, Name).

openssl(Dir, Arguments) ->
    Output = os:cmd("cd '" ++ Dir ++ "' && openssl " ++ Arguments ++ " 2>&1; echo status=$?"),
    case string:find(Output, "status=0\n") of
        nomatch -> error({openssl, Arguments, Output});
        _ -> ok
    end.
