# SPDX-License-Identifier: GPL-2.0
#
# pheap: the one place to build, try and check everything. `make help` lists the targets.
#
# All results go to build/; the source tree stays clean.

# The kernel build tree that `make` and `make install` build the module for.
KDIR    ?= /lib/modules/$(shell uname -r)/build
# The text that `make demo` indexes.
FILE    ?=
# The kernel that `make demo` and `make bench` boot.
K       ?= 6.1
PREFIX  ?= /usr/local
DESTDIR ?=

CACHE   := $(or $(PHEAP_CACHE),$(or $(XDG_CACHE_HOME),$(HOME)/.cache)/pheap)
KERNELS := 6.1 6.12

MAKEFLAGS += --no-print-directory

.PHONY: all
all: module lib tests

.PHONY: help
help:
	@echo 'pheap: private heaps for Linux processes, managed by a kernel module'
	@echo
	@echo 'Try and check (Debian 12; in a virtual machine; installs missing packages):'
	@echo '  make demo [FILE=text] [K=6.12]   a word index in a private heap'
	@echo '  make check                       all tests, on the kernels 6.1 and 6.12'
	@echo '  make check-6.1, check-6.12       the tests on one kernel'
	@echo '  make check-debug                 the tests on a kernel that watches (builds it once)'
	@echo '  make unit                        the allocator in user space'
	@echo '  make style                       checkpatch, sparse, kernel-doc, shellcheck, ...'
	@echo
	@echo 'Measure (beside other heaps; see bench/README.md):'
	@echo '  make bench [K=6.12]              instructions, in a virtual machine'
	@echo '  make bench-native                time, natively, with a stub of the kernel'
	@echo
	@echo 'Build and install:'
	@echo '  make [KDIR=kernel-build-tree]    module for the running (or that) kernel, library'
	@echo '  make module, lib, tests          one of them'
	@echo '  make module-6.1, module-6.12     the module for the kernels that are tested'
	@echo '  make install [DESTDIR=] [PREFIX=/usr/local]'
	@echo '                                   library, headers, pkg-config file, module'
	@echo '  make clean                       remove build/'
	@echo
	@echo 'selftests/vm/run -h tells how to run programs of your own in the virtual machine.'

#
# Building
#

# A tree that was asked for must be there; the running kernel's headers need not.
.PHONY: module
module:
	+@if [ -e "$(KDIR)/Makefile" ]; then \
		tools/build-module "$(KDIR)" build/module modules; \
	elif [ "$(origin KDIR)" = file ]; then \
		echo "  SKIP    module: no headers of the running kernel in $(KDIR)"; \
		echo "          (apt install linux-headers-$$(uname -r), or make KDIR=...)"; \
	else \
		echo "no kernel build tree in KDIR=$(KDIR)" >&2; exit 1; \
	fi

.PHONY: $(KERNELS:%=module-%)
$(KERNELS:%=module-%): module-%:
	+@[ -e "$(CACHE)/linux-$*/version" ] || tools/setup vm-$*
	+@tools/build-module "$(CACHE)/linux-$*/build" build/module-$* modules

.PHONY: lib
lib:
	@$(MAKE) -C libheapuser O=../build/lib

.PHONY: tests
tests: lib
	@if [ -e "$(CACHE)/kselftest/version" ]; then \
		$(MAKE) -C selftests O=../build/selftests LIB=../build/lib; \
	else \
		echo "  SKIP    tests: no kselftest headers (tools/setup tests fetches them)"; \
	fi

#
# Trying and checking
#

.PHONY: demo
demo:
	@tools/setup build $(sort vm-6.1 vm-$(K))
	@$(MAKE) lib module-$(K)
	@tools/demo $(K) $(FILE)

.PHONY: check
check:
	@tools/check runner $(KERNELS) unit

.PHONY: $(KERNELS:%=check-%)
$(KERNELS:%=check-%): check-%:
	@tools/check $*

.PHONY: check-debug
check-debug:
	@tools/check debug

.PHONY: unit
unit:
	@tools/check unit

.PHONY: style
style:
	@tools/style

#
# Measuring
#

.PHONY: bench
bench:
	@tools/setup build bench vm-$(K)
	@$(MAKE) lib module-$(K)
	@$(MAKE) -C bench O=../build/bench LIB=../build/lib
	@bench/run vm $(K)

.PHONY: bench-native
bench-native:
	@tools/setup build bench
	@$(MAKE) lib
	@$(MAKE) -C bench O=../build/bench LIB=../build/lib
	@bench/run native

#
# Installing
#

.PHONY: install
install: lib
	@$(MAKE) -C libheapuser O=../build/lib PREFIX="$(PREFIX)" DESTDIR="$(DESTDIR)" install
	+@if [ -e build/module/pheap.ko ] && \
	    [ "$$(cat build/module/kdir)" = "$$(realpath "$(KDIR)")" ]; then \
		tools/build-module "$(KDIR)" build/module \
			INSTALL_MOD_PATH="$(DESTDIR)" modules_install; \
	else \
		echo "  SKIP    modules_install: no module was built for $(KDIR)"; \
	fi

.PHONY: clean
clean:
	rm -rf build
