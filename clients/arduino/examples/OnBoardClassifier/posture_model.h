// Written by scripts/arduino-classifier.ts.
#pragma once
#include <SkeinClassifier.h>

#define POSTURE_WIDTH 8
// Units for an input of 1.
#define POSTURE_INPUT_SCALE 64

static const int8_t POSTURE_WEIGHTS_0[] PROGMEM = {
    6, -6, -6,
    63, -59, -16,
    29, 76, -60,
    -38, -46, -30,
    -2, -6, -7,
    -78, 7, -11,
    1, -7, -6,
    4, 0, 96,
};
static const int32_t POSTURE_BIASES_0[] PROGMEM = {9, 820, 3171, 1179, -279, 491, -470, -1103};

static const int8_t POSTURE_WEIGHTS_1[] PROGMEM = {
    11, -55, -77, -56, -4, -52, 2, 64,
    -5, 23, 18, 7, -6, 23, 4, 25,
    11, 53, 47, 29, -7, 42, -5, -73,
};
static const int32_t POSTURE_BIASES_1[] PROGMEM = {23, 41, -64};

static const SkeinLayer POSTURE_LAYERS[] = {
    {3, 8, 7, POSTURE_WEIGHTS_0, POSTURE_BIASES_0},
    {8, 3, 3, POSTURE_WEIGHTS_1, POSTURE_BIASES_1},
};
