#include "SkeinClassifier.h"

uint8_t skeinClassify(const SkeinLayer *layers, uint8_t count, int8_t *room, uint8_t width, uint8_t *margin) {
  int8_t *in = room, *out = room + width;
  uint8_t best = 0;
  int32_t bestSum = INT32_MIN, nextSum = INT32_MIN;
  for (uint8_t index = 0; index < count; index++) {
    const SkeinLayer &layer = layers[index];
    const int8_t *weight = layer.weights;
    for (uint8_t output = 0; output < layer.outputs; output++) {
      int32_t sum = (int32_t)pgm_read_dword(layer.biases + output);
      for (uint8_t input = 0; input < layer.inputs; input++) sum += (int16_t)in[input] * (int8_t)pgm_read_byte(weight++);
      // to the nearest, also below zero
      if (layer.shift) sum = (sum + ((int32_t)1 << (layer.shift - 1))) >> layer.shift;
      if (index + 1 < count) out[output] = (int8_t)(sum < 0 ? 0 : sum > 127 ? 127 : sum);
      else if (sum > bestSum) {
        nextSum = bestSum;
        bestSum = sum;
        best = output;
      } else if (sum > nextSum) nextSum = sum;
    }
    int8_t *const swap = in;
    in = out;
    out = swap;
  }
  if (margin) *margin = nextSum == INT32_MIN || bestSum - nextSum > 255 ? 255 : (uint8_t)(bestSum - nextSum);
  return best;
}
