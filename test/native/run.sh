#!/bin/sh
# Builds and runs the engine's tests: plainly, or under the sanitizers that are named.
#
#   test/native/run.sh [plain|address|undefined|thread]... [-- PART OF A TEST'S NAME...]
#
# LIBTORCH names the LibTorch to build against; builds lie in build/engine-tests/, or in $ENGINE_TESTS_BUILD.
set -eu
root=$(cd "$(dirname "$0")/../.." && pwd)
builds=${ENGINE_TESTS_BUILD:-$root/build/engine-tests}
: "${LIBTORCH:?set LIBTORCH to the folder that holds lib/ and include/ (sightline doctor prints it)}"

kinds=
while [ $# -gt 0 ]; do
  case $1 in
    --) shift; break ;;
    plain|address|undefined|thread) kinds="$kinds $1" ;;
    *) echo "run.sh: there is no sanitizer '$1'; it is one of plain, address, undefined, thread." >&2; exit 2 ;;
  esac
  shift
done

for kind in ${kinds:-plain}; do
  sanitize=$kind
  [ "$kind" = plain ] && sanitize=
  cmake -S "$root" -B "$builds/$kind" ${CMAKE_GENERATOR:+-G "$CMAKE_GENERATOR"} \
    -DSIGHTLINE_LIBTORCH="$LIBTORCH" -DSIGHTLINE_SANITIZE="$sanitize" -DSIGHTLINE_BUILD_TESTS=ON >/dev/null
  cmake --build "$builds/$kind" --parallel
  echo "engine_tests, $kind"
  (
    export ASAN_OPTIONS="detect_leaks=1:strict_init_order=1:${ASAN_OPTIONS:-}"
    export UBSAN_OPTIONS="print_stacktrace=1:${UBSAN_OPTIONS:-}"
    export TSAN_OPTIONS="halt_on_error=0:exitcode=66:second_deadlock_stack=1:${TSAN_OPTIONS:-}"
    run=
    if [ "$kind" = thread ]; then
      # OpenMP's own locks are not seen by the thread sanitizer: with one thread there is nothing of its to be seen.
      export OMP_NUM_THREADS=1 MKL_NUM_THREADS=1
      # Older thread sanitizers do not start where the kernel scatters mappings widely.
      command -v setarch >/dev/null && run='setarch -R'
    fi
    $run "$builds/$kind/engine_tests" "$root/test/parity/archives" "$@"
  )
done
