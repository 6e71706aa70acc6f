# eid: Erlang in Docker. `make` builds, `make demo` shows, `make test` checks everything, `make install` puts it into an Erlang.

.PHONY: all demo test bench soak fuzz docs install uninstall dist clean packages-build packages-demo packages-test packages-bench

# apt-get takes a lock, and rebar3 needs what the packages bring.
.NOTPARALLEL:

# For install and uninstall. The application goes into the library folder of the Erlang in PREFIX, or else of the one on the PATH;
# ERLANG_LIB names another one's. DESTDIR is for those who make packages.
DESTDIR =
PREFIX = /usr/local
ERLANG_LIB =

all: packages-build
	rebar3 compile

# Each target installs the Debian packages that it uses, and lists them first.
packages-build packages-demo packages-test packages-bench: packages-%:
	@test/rig/packages.sh $*

demo: packages-demo all
	test/rig/demo.sh

# All checks. `test/run.sh static`, `unit`, `rig` and `docs` are its parts.
test: packages-test all
	test/run.sh all

# Measures, writes bench/RESULTS.md, and fails if a bound does not hold.
bench: packages-bench all
	bench/run.sh

# What takes longer than make test may: the kills and connects of the rig's suites, many more of them, and ten minutes of load on
# `eid forward` and `eid serve` while everything around them is killed at random.
soak: packages-test all
	EID_SOAK=10 EID_SOAK_SECONDS=600 test/run.sh soak

# Whatever an engine may send, for FUZZ_SECONDS a target: see native/fuzz.
fuzz:
	native/fuzz/run.sh

# The guide, the reference, the modules and the crates, as a web site in _build/site. A warning is an error.
docs: packages-build
	doc/make.sh

# What is built already: whoever installs may be root, and have no compilers.
install uninstall:
	@DESTDIR='$(DESTDIR)' PREFIX='$(PREFIX)' ERLANG_LIB='$(ERLANG_LIB)' native/install.sh $@

# A tarball of what install puts below the prefix, for the ADD of a Dockerfile.
dist:
	@native/install.sh dist

clean:
	rm -rf _build target priv/eid_nif.so priv/eid priv/man priv/completions
