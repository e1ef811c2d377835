#!/bin/sh
# build.sh SKETCH.ino OUT [flags...]: compiles a sketch with the library to a program of this machine.
set -e
here=$(cd "$(dirname "$0")" && pwd)
library=$here/../../src
sketch=$1 out=$2
shift 2
g++ -std=c++11 -O1 -Wall -Wextra "$@" -I"$here" -I"$library" -include Arduino.h \
  "$library"/*.cpp "$here/host.cpp" -x c++ "$sketch" -o "$out"
