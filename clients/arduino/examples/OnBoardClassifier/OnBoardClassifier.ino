// Whether somebody stands, leans or has fallen, by an accelerometer (an ADXL335 at A0 to A2) and a model on the board itself.
// What it is unsure about it asks the mesh.
#include <Skein.h>
#include <SkeinClassifier.h>
#include "posture_model.h"

// Counts of the converter at rest and for 1 g, at 3.3 V of 5 V.
static const int16_t ZERO = 338, ONE_G = 68;
static const uint8_t UNSURE = 16;

static SkeinLink link(Serial);
static Skein skein(link);
static uint8_t posture, margin;
static uint32_t lookedMs;

static void look() {
  int8_t room[2 * POSTURE_WIDTH];
  for (uint8_t axis = 0; axis < 3; axis++) {
    const int16_t value = (analogRead(A0 + axis) - ZERO) * POSTURE_INPUT_SCALE / ONE_G;
    room[axis] = (int8_t)(value < -128 ? -128 : value > 127 ? 127 : value);
  }
  posture = skeinClassify(POSTURE_LAYERS, 2, room, POSTURE_WIDTH, &margin);
}

static void readPosture(SkeinValue &value) { value.setInteger(posture); }
static void readMargin(SkeinValue &value) { value.setInteger(margin); }

static void onAnswer(const SkeinPiece &piece) {
  if (piece.length > 0) digitalWrite(LED_BUILTIN, piece.text[0] == 'y' ? HIGH : LOW);
}

void setup() {
  Serial.begin(115200);
  pinMode(LED_BUILTIN, OUTPUT);
  skein.describe(F("posture 1.0"), F("uno"));
  skein.model(F("me:posture::upright|tilted|fallen"), readPosture);
  skein.sensor(F("ri:margin"), readMargin);
  skein.every(1000);
  skein.begin(skeinBoot());
}

void loop() {
  skein.loop();
  if (millis() - lookedMs >= 200) {
    lookedMs = millis();
    look();
    if (margin < UNSURE && skein.isReady() && !skein.isAsking())
      skein.ask(F("A sensor is unsure whether its wearer fell. Should somebody be called?"), onAnswer, SkeinAsk(30, 8, SKEIN_YESNO));
  }
  skeinRest();
}
