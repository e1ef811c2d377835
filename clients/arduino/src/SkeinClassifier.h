// A small classifier of int8 dense layers, for boards without an FPU. scripts/arduino-classifier.ts of the repository writes
// the header of one. 3-8-3 takes some 100 bytes of flash, and 0.2 ms on an Uno.
#pragma once
#include <Arduino.h>

// `weights` (outputs x inputs) and `biases` lie in flash. Sums are shifted right by `shift`: in layers before the last one to
// int8 from 0 to 127 (ReLU), in the last one to sixteenths of a logit.
struct SkeinLayer {
  uint8_t inputs, outputs, shift;
  const int8_t *weights;
  const int32_t *biases;
};

// The class of the inputs that `room` begins with; `room` has twice as many bytes as the widest layer has inputs or outputs
// (`width`). `margin`: by how many sixteenths of a logit it is likelier than the next one, at most 255: below 16 it is a guess.
uint8_t skeinClassify(const SkeinLayer *layers, uint8_t count, int8_t *room, uint8_t width, uint8_t *margin = 0);
