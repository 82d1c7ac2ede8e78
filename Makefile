# semtok: semantic IDs in PostgreSQL.
#
#   make && make install     as any PGXS extension; PG_CONFIG selects the server
#   make installcheck        pg_regress and isolation tests against a running server
#   make demo                see it work: installs what is missing, builds, plays scenes (./tmp)
#   make test                the same set-up, then every test; some of them: test/run SUITE...
#   make unit                core's unit tests, without a server
#   make unit-worker         those of semtokd's parts
#   make mutate              see a test fail for each part of the filters' certificate taken away
#   make fuzz                core's parsers against generated input (clang; FUZZ_SECONDS each)
#   make sqlsmith            random queries against all types and verbs (SQLSMITH_SECONDS)
#   make torture             workers, supervisor and sessions killed under load, N=5 minutes; times
#   make bench               benchmarks, each with its baseline; some of them: bench/run NAME...
#   make bench-core          only build those that need no server: of core, semtokd and ids' quality
#   make cuda                semtokd's engine for CUDA devices, where nvcc is
#   make install-cuda        install it, and semtok_trie.h, the C interface of its tries
#   make cuda-test           its tests and measurements; bench/gpu/run runs them where a device is

EXTENSION = semtok
EXTVERSION = 0.1.0
MODULE_big = semtok

CORE_OBJS = $(patsubst %.c,%.o,$(sort $(wildcard src/core/*.c)))
OBJS = $(CORE_OBJS) $(patsubst %.c,%.o,$(sort $(wildcard src/*.c src/types/*.c src/am/*.c \
	src/client/*.c src/tokenizer/*.c src/decode/*.c)) src/worker/protocol.c src/worker/found.c)

# The worker, a program without PostgreSQL in it, on the same objects of core.
SEMTOKD = src/worker/semtokd
SEMTOKD_SOURCES = $(filter-out src/worker/faults.c,$(sort $(wildcard src/worker/*.c src/engine/*.c)))
SEMTOKD_OBJS = $(SEMTOKD_SOURCES:.c=.o)
# The same with faults on purpose (src/worker/faults.h), for the tests. Nothing installs it.
SEMTOKD_FAULTS = test/faults/semtokd
SEMTOKD_FAULTS_OBJS = $(patsubst src/%.c,test/faults/%.o,$(SEMTOKD_SOURCES) src/worker/faults.c)

# The extension's SQL, one file per subject, in the order they depend on each other.
SQL_PARTS = $(addprefix sql/,schema.sql embedding.sql semid.sql codebook.sql semset.sql \
	semquery.sql semtrie.sql tokenizer.sql import.sql trace.sql trigger.sql decode.sql beam.sql \
	scorer.sql mask.sql worker.sql)
DATA_built = $(EXTENSION)--$(EXTVERSION).sql
# From each released version to the next: semtok--OLD--NEW.sql
DATA = $(sort $(wildcard sql/upgrades/*.sql))
EXTRA_CLEAN = $(SEMTOKD) $(SEMTOKD_OBJS) test/faults test/unit/bin test/fuzz/bin bench/core/bin \
	kernels/bin test/cuda/bin test/results test/regression.diffs test/regression.out output_iso \
	tmp_check log

REGRESS = $(patsubst test/sql/%.sql,%,$(sort $(wildcard test/sql/*.sql)))
# Without an output directory of its own pg_regress would take sql/NAME.sql for test NAME.
REGRESS_OPTS = --inputdir=test --outputdir=test --load-extension=$(EXTENSION)
ISOLATION = $(patsubst test/specs/%.spec,%,$(sort $(wildcard test/specs/*.spec)))
ISOLATION_OPTS = --inputdir=test --load-extension=$(EXTENSION)
PROVE_TESTS = test/t/*.pl

# Contraction would change codes: fma only where the source says so. The bitcode rule ignores
# PG_CFLAGS, so it is told apart.
SEMTOK_CFLAGS = -ffp-contract=off
PG_CPPFLAGS = -Isrc -DSEMTOK_VERSION='"$(EXTVERSION)"'
PG_CFLAGS = $(SEMTOK_CFLAGS)
# Core is C17; PostgreSQL's own flags ask for declarations first, which core does not follow.
PG_CFLAGS += -Wno-declaration-after-statement
SHLIB_LINK = -lm

# Core alone needs no PostgreSQL; demo, test and bench find or install it themselves.
ifneq ($(filter-out unit unit-worker mutate fuzz sqlsmith torture demo test bench bench-core cuda cuda-test,$(or $(MAKECMDGOALS),all)),)
PG_CONFIG = pg_config
PGXS := $(shell $(PG_CONFIG) --pgxs)
ifeq ($(wildcard $(PGXS)),)
$(error no PGXS by $(PG_CONFIG): install the headers (Debian: postgresql-server-dev-15) or set PG_CONFIG)
endif
include $(PGXS)
endif

override BITCODE_CFLAGS += $(SEMTOK_CFLAGS)

ifdef WERROR
# System headers are not ours to warn about.
override CPPFLAGS := $(subst -I$(includedir_server),-isystem $(includedir_server),$(CPPFLAGS))
override CFLAGS += -Wextra -Wshadow -Wvla -Werror -Wno-unused-parameter -Wno-sign-compare
endif

$(EXTENSION)--$(EXTVERSION).sql: $(SQL_PARTS)
	@echo "building $@"
	@{ printf '%s\n' '\echo Use "CREATE EXTENSION semtok" to load this file. \quit'; cat $^; } > $@

# Every object depends on every header, and on the compiler and flags that this PG_CONFIG asks for:
# the tree is small and a stale object is never worth it.
FLAGS = $(CC) $(CPPFLAGS) $(CFLAGS) $(CFLAGS_SL) $(VERSION)
$(OBJS) $(SEMTOKD_OBJS) $(SEMTOKD_FAULTS_OBJS): $(wildcard src/*.h src/*/*.h) tmp/flags
tmp/flags: force-flags
	@mkdir -p $(@D)
	@echo '$(subst ','\'',$(FLAGS))' | cmp -s - $@ || echo '$(subst ','\'',$(FLAGS))' >$@
.PHONY: force-flags

# PGXS's own way to a program would link the extension's objects.
$(SEMTOKD): $(SEMTOKD_OBJS) $(CORE_OBJS)
	$(CC) $(CFLAGS) -o $@ $^ $(LDFLAGS) -lcrypto -lm -ldl -pthread

test/faults/%.o: src/%.c
	@mkdir -p $(@D)
	$(CC) $(CFLAGS) $(CPPFLAGS) -DSEMTOK_FAULTS -c -o $@ $<
$(SEMTOKD_FAULTS): $(SEMTOKD_FAULTS_OBJS) $(CORE_OBJS)
	$(CC) $(CFLAGS) -o $@ $^ $(LDFLAGS) -lcrypto -lm -ldl -pthread

# It waits for its clients by epoll. Where there is none, sessions compute by themselves.
ifeq ($(PORTNAME),linux)
all: $(SEMTOKD)
install: install-semtokd
uninstall: uninstall-semtokd
endif
.PHONY: install-semtokd uninstall-semtokd
install-semtokd: $(SEMTOKD)
	$(MKDIR_P) '$(DESTDIR)$(pkglibdir)/semtok'
	$(INSTALL_PROGRAM) $(SEMTOKD) '$(DESTDIR)$(pkglibdir)/semtok/semtokd'
uninstall-semtokd:
	rm -f $(patsubst %,'$(DESTDIR)$(pkglibdir)/semtok/%',semtokd semtok_cuda.so semtok_trie.h)

# Core's unit tests: each test/unit/test_*.c is one program over core, engine and cmocka. Another
# compiler, sanitizers or an emulator: CC=… UNIT_SANITIZE=… UNIT_RUN=… with a UNIT_BIN of its own;
# UNIT_TESTS=… for some of them. SEMTOK_UNIT_ROWS makes the longest shorter.
UNIT_BIN = test/unit/bin
UNIT_SOURCES = $(sort $(wildcard src/core/*.c src/engine/*.c)) src/worker/protocol.c \
	src/worker/found.c
UNIT_OBJS = $(patsubst src/%.c,$(UNIT_BIN)/%.o,$(UNIT_SOURCES))
UNIT_TESTS = $(patsubst test/unit/%.c,$(UNIT_BIN)/%,$(sort $(wildcard test/unit/test_*.c)))
UNIT_CFLAGS = -std=c17 -D_GNU_SOURCE -O2 -g -Wall -Wextra $(SEMTOK_CFLAGS) -Isrc -Itest/unit \
	-DSEMTOK_VERSION='"$(EXTVERSION)"'

$(UNIT_BIN)/%.o: src/%.c $(wildcard src/core/*.h src/engine/*.h src/worker/*.h)
	@mkdir -p $(@D)
	$(CC) $(UNIT_CFLAGS) $(UNIT_SANITIZE) -c -o $@ $<

$(UNIT_BIN)/test_%: test/unit/test_%.c $(UNIT_OBJS) $(wildcard test/unit/*.h)
	$(CC) $(UNIT_CFLAGS) $(UNIT_SANITIZE) -o $@ $< $(UNIT_OBJS) $(UNIT_LDFLAGS) -lcmocka -lm -ldl -pthread

# Each part of the filters' certificate taken away: test_bound must notice.
mutate: $(UNIT_OBJS)
	@test/unit/mutate_bound $(UNIT_BIN) $(CC) $(UNIT_CFLAGS) $(UNIT_SANITIZE)

# The worker's parts, which take libcrypto too, and a semtokd of the same objects, which is run as
# they are: each test/worker/test_*.c. A thread that the end of the program finds is no leak.
WORKER_OBJS = $(patsubst src/%.c,$(UNIT_BIN)/%.o,$(filter-out %/semtokd.c %/faults.c %/protocol.c \
	%/found.c,$(sort $(wildcard src/worker/*.c))))
WORKER_TESTS = $(patsubst test/worker/%.c,$(UNIT_BIN)/worker-%,$(sort $(wildcard test/worker/test_*.c)))

$(UNIT_BIN)/worker-test_%: test/worker/test_%.c $(WORKER_OBJS) $(UNIT_OBJS) $(wildcard test/unit/*.h test/worker/*.h)
	$(CC) $(UNIT_CFLAGS) $(UNIT_SANITIZE) -o $@ $< $(WORKER_OBJS) $(UNIT_OBJS) -lcmocka -lcrypto -lm -ldl -pthread

$(UNIT_BIN)/semtokd: $(UNIT_BIN)/worker/semtokd.o $(WORKER_OBJS) $(UNIT_OBJS)
	$(CC) $(UNIT_CFLAGS) $(UNIT_SANITIZE) -o $@ $^ -lcrypto -lm -ldl -pthread

.PHONY: unit unit-worker mutate sqlsmith torture demo test bench bench-core $(UNIT_TESTS:%=%.run) $(WORKER_TESTS:%=%.run)
.SECONDARY: $(UNIT_OBJS) $(WORKER_OBJS)
unit: $(UNIT_TESTS:%=%.run)
unit-worker: $(WORKER_TESTS:%=%.run)
$(UNIT_TESTS:%=%.run): %.run: %
	@$(UNIT_RUN) $<
$(WORKER_TESTS:%=%.run): %.run: % $(UNIT_BIN)/semtokd $(UNIT_BIN)/cuda/semtok_cuda.so
	@env SEMTOKD=$(UNIT_BIN)/semtokd SEMTOK_CUDA=$(UNIT_BIN)/cuda/semtok_cuda.so SEMTOKD_RUN='$(UNIT_RUN)' \
		VALGRIND_OPTS=--errors-for-leak-kinds=definite $(UNIT_RUN) $<

# Core's parsers under libFuzzer and the sanitizers: each test/fuzz/fuzz_*.c is one target.
FUZZ_TARGETS = $(patsubst test/fuzz/%.c,test/fuzz/bin/%,$(sort $(wildcard test/fuzz/fuzz_*.c)))
FUZZ_SECONDS = 10

FUZZ_CC = clang -std=c17 -D_GNU_SOURCE -O1 -g -fsanitize=address,undefined \
	-fno-sanitize-recover=undefined $(SEMTOK_CFLAGS) -Isrc -Itest/unit
FUZZ_OBJS = $(patsubst src/%.c,test/fuzz/bin/%.o,$(sort $(wildcard src/core/*.c)) src/worker/protocol.c \
	src/worker/found.c)

test/fuzz/bin/%.o: src/%.c $(wildcard src/core/*.h src/worker/*.h)
	@mkdir -p $(@D)
	$(FUZZ_CC) -fsanitize=fuzzer-no-link -c -o $@ $<

test/fuzz/bin/fuzz_%: test/fuzz/fuzz_%.c $(FUZZ_OBJS)
	$(FUZZ_CC) -fsanitize=fuzzer -o $@ $< $(FUZZ_OBJS) -lm

# What a target has found worth keeping goes on where it stopped: test/fuzz/bin/corpus.
.SECONDARY: $(FUZZ_OBJS)
.PHONY: fuzz $(FUZZ_TARGETS:%=%.run)
fuzz: $(FUZZ_TARGETS:%=%.run)
$(FUZZ_TARGETS:%=%.run): %.run: %
	@mkdir -p test/fuzz/bin/corpus/$(<F)
	@$< -max_total_time=$(FUZZ_SECONDS) -timeout=20 -rss_limit_mb=2500 -print_final_stats=1 \
		-artifact_prefix=$<- test/fuzz/bin/corpus/$(<F) 2>&1 && echo '$(<F): done'

# Benchmarks of core: each bench/core/*.c is one program over core, engine and bench/core/common.
BENCH_BIN = bench/core/bin
BENCH_COMMON = $(patsubst bench/core/%.c,$(BENCH_BIN)/%.o,$(sort $(wildcard bench/core/common/*.c)))
BENCH_PROGRAMS = $(patsubst bench/core/%.c,$(BENCH_BIN)/%,$(sort $(wildcard bench/core/*.c)))

$(BENCH_BIN)/common/%.o: bench/core/common/%.c $(wildcard bench/core/common/*.h src/*/*.h)
	@mkdir -p $(@D)
	$(CC) $(UNIT_CFLAGS) $(UNIT_SANITIZE) -Ibench/core -c -o $@ $<

$(BENCH_BIN)/%: bench/core/%.c $(BENCH_COMMON) $(UNIT_OBJS)
	$(CC) $(UNIT_CFLAGS) $(UNIT_SANITIZE) -Ibench/core -o $@ $< $(BENCH_COMMON) $(UNIT_OBJS) -lm -ldl -pthread

# Benchmarks of semtokd by a client in C: each bench/worker/*.c, over bench/worker/common, too.
BENCH_CLIENT = $(patsubst bench/%.c,$(BENCH_BIN)/%.o,$(sort $(wildcard bench/worker/common/*.c)))
BENCH_WORKER_PROGRAMS = $(patsubst bench/worker/%.c,$(BENCH_BIN)/worker-%,$(sort $(wildcard bench/worker/*.c)))

$(BENCH_BIN)/worker/common/%.o: bench/worker/common/%.c $(wildcard bench/*/common/*.h src/*/*.h)
	@mkdir -p $(@D)
	$(CC) $(UNIT_CFLAGS) $(UNIT_SANITIZE) -Ibench -Ibench/core -c -o $@ $<

$(BENCH_BIN)/worker-%: bench/worker/%.c $(BENCH_COMMON) $(BENCH_CLIENT) $(WORKER_OBJS) $(UNIT_OBJS)
	$(CC) $(UNIT_CFLAGS) $(UNIT_SANITIZE) -Ibench -Ibench/core -o $@ $^ -lcrypto -lm -ldl -pthread

# How good ids are by each way of training: each bench/quality/*.c is a data set, over
# bench/quality/common, too.
BENCH_QUALITY = $(patsubst bench/%.c,$(BENCH_BIN)/%.o,$(sort $(wildcard bench/quality/common/*.c)))
BENCH_QUALITY_PROGRAMS = $(patsubst bench/quality/%.c,$(BENCH_BIN)/quality-%,$(sort $(wildcard bench/quality/*.c)))

$(BENCH_BIN)/quality/common/%.o: bench/quality/common/%.c $(wildcard bench/*/common/*.h src/*/*.h)
	@mkdir -p $(@D)
	$(CC) $(UNIT_CFLAGS) -O3 $(UNIT_SANITIZE) -Ibench -Ibench/core -c -o $@ $<

$(BENCH_BIN)/quality-%: bench/quality/%.c $(BENCH_QUALITY) $(BENCH_COMMON) $(UNIT_OBJS)
	$(CC) $(UNIT_CFLAGS) $(UNIT_SANITIZE) -Ibench -Ibench/core -o $@ $^ -lm -ldl -pthread

.SECONDARY: $(BENCH_COMMON) $(BENCH_CLIENT) $(BENCH_QUALITY)
bench-core: $(BENCH_PROGRAMS) $(BENCH_WORKER_PROGRAMS) $(BENCH_QUALITY_PROGRAMS)

# The engine for CUDA devices, a library that semtokd opens, and programs that run a model do, too
# (kernels/semtok_trie.h): kernels/*.cu by nvcc for devices from Turing to Blackwell, and as PTX for
# what comes after; the rest by $(CC). Its own copy of the little it needs of core, the CUDA runtime
# within it. CUDA_ARCHS=90 for one kind of device only.
NVCC = nvcc
CUDA_ARCHS = 75 80 86 89 90 100
CUDA_HOME = $(patsubst %/bin/,%,$(dir $(shell command -v $(NVCC))))
CUDA_BIN = kernels/bin
CUDA_CFLAGS = -std=c17 -D_GNU_SOURCE -O2 -fPIC -Wall -Wextra -Wshadow -Wvla $(SEMTOK_CFLAGS) -Isrc \
	-Ikernels -Itest/unit -isystem $(CUDA_HOME)/include -DSEMTOK_VERSION='"$(EXTVERSION)"'
NVCC_FLAGS = -std=c++17 -O3 -fmad=false -ftz=false -prec-div=true -prec-sqrt=true -Isrc -Ikernels \
	-Xcompiler -fPIC,-Wall,-Wextra,$(SEMTOK_CFLAGS) \
	$(foreach a,$(KERNEL_ARCHS),-gencode=arch=compute_$a,code=sm_$a) \
	-gencode=arch=compute_$(lastword $(KERNEL_ARCHS)),code=compute_$(lastword $(KERNEL_ARCHS))
KERNEL_ARCHS = $(CUDA_ARCHS)
CUDA_LIBS = -L$(CUDA_HOME)/lib64 -lcudart_static -ldl -lrt -lm -pthread
KERNEL_OBJS = $(patsubst kernels/%.cu,$(CUDA_BIN)/%.o,$(sort $(wildcard kernels/*.cu)))
CUDA_ENGINE_OBJS = $(patsubst kernels/%.c,$(CUDA_BIN)/%.o,$(sort $(wildcard kernels/*.c)))
CUDA_OBJS = $(KERNEL_OBJS) $(CUDA_ENGINE_OBJS) $(addprefix $(CUDA_BIN)/,alloc.o codebook.o csr_read.o \
	dot.o network_shape.o npy.o npz.o packed_trie.o pool.o semid.o semset.o status.o)
CUDA_TEST_BIN = test/cuda/bin
TRAINER_OBJS = beam_shape.o encode_error.o gpu.o lane.o measure_cuda.o train_batches.o train_blas.o \
	train_cuda.o train_rqvae.o train_rqvae_step.o trainer.o semtok_trie.o trie.o
CUDA_TESTS = $(patsubst test/cuda/%.c,$(CUDA_TEST_BIN)/%,$(sort $(wildcard test/cuda/*.c)))
CUDA_TEST_OBJS = $(patsubst src/%.c,$(CUDA_TEST_BIN)/%.o,$(sort $(wildcard src/core/*.c \
	src/engine/*.c)) src/worker/speed.c)
CUDA_HEADERS = $(wildcard kernels/*.h kernels/*.cuh src/core/*.h src/engine/*.h)

# Hopper's own instructions want their own target, sm_90a, in sm_90's place.
HOPPER_OBJS = $(patsubst kernels/%.cu,$(CUDA_BIN)/%.o,$(wildcard kernels/*_hopper.cu))
$(HOPPER_OBJS): KERNEL_ARCHS = $(CUDA_ARCHS:90=90a)
$(HOPPER_OBJS): NVCC_FLAGS += $(if $(filter 90 90a,$(CUDA_ARCHS)),-DSTK_HAVE_HOPPER)

$(CUDA_BIN)/%.o: kernels/%.cu $(CUDA_HEADERS)
	@mkdir -p $(@D)
	$(NVCC) $(NVCC_FLAGS) -c -o $@ $<
$(CUDA_BIN)/%.o: kernels/%.c $(CUDA_HEADERS)
	@mkdir -p $(@D)
	$(CC) $(CUDA_CFLAGS) -c -o $@ $<
$(CUDA_BIN)/%.o: src/core/%.c $(CUDA_HEADERS)
	@mkdir -p $(@D)
	$(CC) $(CUDA_CFLAGS) -c -o $@ $<
$(CUDA_BIN)/semtok_cuda.so: $(CUDA_OBJS) kernels/exports.map
	$(CXX) -shared -static-libstdc++ -static-libgcc -Wl,-z,defs \
		-Wl,--version-script=kernels/exports.map -o $@ $(CUDA_OBJS) $(CUDA_LIBS)

$(CUDA_TEST_BIN)/%.o: src/%.c $(CUDA_HEADERS)
	@mkdir -p $(@D)
	$(CC) $(CUDA_CFLAGS) -c -o $@ $<
$(CUDA_TEST_BIN)/%.o: test/cuda/%.c $(CUDA_HEADERS) $(wildcard test/cuda/*.h test/unit/*.h)
	@mkdir -p $(@D)
	$(CC) $(CUDA_CFLAGS) -Itest/cuda -c -o $@ $<
$(CUDA_TEST_BIN)/%.o: test/cuda/%.cu test/cuda/%.h $(CUDA_HEADERS)
	@mkdir -p $(@D)
	$(NVCC) $(NVCC_FLAGS) -Itest/cuda -c -o $@ $<
$(CUDA_TEST_BIN)/test_large: $(CUDA_TEST_BIN)/random_rows.o
$(CUDA_TESTS): %: %.o $(CUDA_TEST_OBJS) $(KERNEL_OBJS) $(addprefix $(CUDA_BIN)/,$(TRAINER_OBJS))
	$(CXX) -static-libstdc++ -static-libgcc -o $@ $^ $(CUDA_LIBS)
# The tests open it as semtokd does, from beside them.
$(CUDA_TEST_BIN)/semtok_cuda.so: $(CUDA_BIN)/semtok_cuda.so
	@mkdir -p $(@D)
	cp $< $@

# The engine once more with a fake of CUDA, whose calls fail when they are told to: by any compiler,
# for the tests where there is neither nvcc nor a device.
FAKE_CUDA_BIN = $(UNIT_BIN)/cuda
FAKE_CUDA_SOURCES = $(sort $(filter-out kernels/train_%.c kernels/semtok_trie.c,$(wildcard kernels/*.c)) \
	$(wildcard test/cuda/fake/*.c src/core/*.c))
FAKE_CUDA_CFLAGS = -std=c17 -D_GNU_SOURCE -O2 -g -fPIC -Wall -Wextra -Wshadow -Wvla -Werror $(SEMTOK_CFLAGS) \
	-Itest/cuda/fake -Isrc -Ikernels -DSEMTOK_VERSION='"$(EXTVERSION)"' -DHANG_SECONDS=1.0 -DPIECE_BYTES=262144
FAKE_CUDA_OBJS = $(patsubst %.c,$(FAKE_CUDA_BIN)/%.o,$(FAKE_CUDA_SOURCES))

$(FAKE_CUDA_BIN)/%.o: %.c $(CUDA_HEADERS) $(wildcard test/cuda/fake/*.h)
	@mkdir -p $(@D)
	$(CC) $(FAKE_CUDA_CFLAGS) $(UNIT_SANITIZE) -c -o $@ $<
$(FAKE_CUDA_BIN)/semtok_cuda.so: $(FAKE_CUDA_OBJS)
	$(CC) -shared $(UNIT_SANITIZE) -Wl,-Bsymbolic -o $@ $^ -lm -pthread

.SECONDARY: $(CUDA_TEST_OBJS) $(CUDA_TESTS:%=%.o) $(FAKE_CUDA_OBJS)
.PHONY: cuda cuda-test install-cuda
cuda: $(CUDA_BIN)/semtok_cuda.so
cuda-test: $(CUDA_TESTS) $(CUDA_TEST_BIN)/semtok_cuda.so
install-cuda: cuda
	$(MKDIR_P) '$(DESTDIR)$(pkglibdir)/semtok'
	$(INSTALL_SHLIB) $(CUDA_BIN)/semtok_cuda.so '$(DESTDIR)$(pkglibdir)/semtok/semtok_cuda.so'
	$(INSTALL_DATA) kernels/semtok_trie.h '$(DESTDIR)$(pkglibdir)/semtok/semtok_trie.h'

demo:
	@demo/run
test:
	@test/run
sqlsmith:
	@test/sqlsmith $(SQLSMITH_SECONDS)
torture:
	@test/torture $(N)
bench:
	@bench/run
