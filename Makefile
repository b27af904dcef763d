# The doors of the project: `make demo` to see it work, `make test` to check it.
# CMake does the building; everything here can be run by hand as well.

BUILD    ?= build
MINUTES  ?= 10
LANGUAGE ?= de
PREFIX   ?= /usr/local
# make chooses cc by itself; pass a compiler on only when the user named one.
COMPILERS = $(if $(filter environment command,$(origin CC)),-DCMAKE_C_COMPILER=$(CC)) \
            $(if $(filter environment command,$(origin CXX)),-DCMAKE_CXX_COMPILER=$(CXX))
RUN_TESTS = ctest --output-on-failure -j2 --test-dir

.PHONY: all help setup build test demo demo-clean install sanitize thread-sanitize arm64 fuzz clean test-interchange

all: build

help:
	@echo 'make                build into $(BUILD)/'
	@echo 'make demo           train a translator from the distribution'\''s own texts and use it'
	@echo '                    [MINUTES=10] [LANGUAGE=de|fr|zh_CN|...]'
	@echo 'make demo-clean     forget the model that the demo trained'
	@echo 'make test           all tests'
	@echo 'make test-interchange  checks against transformers and CTranslate2, which it installs in a'
	@echo '                    virtual environment under $(BUILD)/'
	@echo 'make install        into PREFIX=$(PREFIX) [DESTDIR=...]'
	@echo 'make sanitize       all tests under AddressSanitizer and UndefinedBehaviorSanitizer'
	@echo 'make thread-sanitize  all tests under ThreadSanitizer (clang)'
	@echo 'make arm64          the operator built for arm64, its tests in an emulator'
	@echo 'make fuzz           run each fuzz target [SECONDS=60]'
	@echo 'make setup          install the packages that the build needs (demo and test do it)'

setup:
	@scripts/setup

build:
	@cmake -S . -B $(BUILD) -G Ninja $(COMPILERS) -DCMAKE_INSTALL_PREFIX=$(PREFIX) >$(BUILD).log 2>&1 \
	  || { cat $(BUILD).log; rm -f $(BUILD).log; echo 'The build could not be configured; `make setup` installs what it needs.'; exit 1; }
	@rm -f $(BUILD).log
	@cmake --build $(BUILD)

test: setup
	@$(MAKE) --no-print-directory build
	$(RUN_TESTS) $(BUILD)

test-interchange:
	@scripts/setup python3-venv
	@$(MAKE) --no-print-directory build
	@tests/interchange/run $(BUILD)

demo: setup
	@$(MAKE) --no-print-directory build
	@ATTN=$(BUILD)/attn examples/demo.sh --language $(LANGUAGE) --minutes $(MINUTES)

demo-clean:
	rm -rf demo/model-*

install: build
	cmake --install $(BUILD)

sanitize: setup
	cmake -S . -B build-sanitize -G Ninja $(COMPILERS) -DCMAKE_BUILD_TYPE=RelWithDebInfo -DATTN_SANITIZE=address,undefined
	cmake --build build-sanitize
	tests/sanitizers/run $(RUN_TESTS) build-sanitize

# With clang: its OpenMP runtime can tell ThreadSanitizer of its barriers, gcc's cannot.
thread-sanitize:
	@scripts/setup clang libclang-rt-dev libomp-dev
	cmake -S . -B build-thread -G Ninja -DCMAKE_C_COMPILER=clang -DCMAKE_CXX_COMPILER=clang++ \
	  -DCMAKE_BUILD_TYPE=RelWithDebInfo -DATTN_SANITIZE=thread
	cmake --build build-thread
	OMP_NUM_THREADS=4 tests/sanitizers/run $(RUN_TESTS) build-thread

arm64:
	@scripts/setup gcc-aarch64-linux-gnu libc6-dev-arm64-cross qemu-user
	tests/attention/cross/run

SECONDS ?= 60
fuzz:
	@scripts/setup clang libclang-rt-dev
	fuzz/run $(SECONDS)

clean:
	rm -rf build build-sanitize build-thread build-fuzz
