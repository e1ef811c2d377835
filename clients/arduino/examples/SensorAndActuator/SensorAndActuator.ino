// A greenhouse: tells its temperature every second, opens its vent when it is told to, and asks now and then what to do.
// Over the USB cable: run `skein bridge --serial auto`, or `skein up` with the same option.
#include <Skein.h>

static const uint8_t VENT_PIN = 13, THERMOMETER_PIN = A0;

// a sketch that has another link, such as SkeinMqtt, may include this one behind it
#ifndef GREENHOUSE_LINK
static SkeinLink link(Serial);
#endif
static Skein skein(link);
static uint32_t askMs;
static bool isOpen;

// A TMP36 at 5 V: 10 mV for each degree, 500 mV at 0 degrees. In 256ths of a degree, to reckon in whole numbers.
static void readTemperature(SkeinValue &value) {
  value.setReal(analogRead(THERMOMETER_PIN) * 125L - 12800, 8);
}

static void readVent(SkeinValue &value) { value.setBoolean(isOpen); }

static uint8_t setVent(SkeinValue &value) {
  isOpen = value.asBoolean();
  digitalWrite(VENT_PIN, isOpen);
  readVent(value);
  return SKEIN_OK;
}

static void onAnswer(const SkeinPiece &piece) {
  // on a board with a display, `piece.text` would go there
  if (piece.isLast) skein.log(piece.error == SKEIN_OK ? F("answered") : F("failed"));
}

void setup() {
  Serial.begin(115200);
  pinMode(VENT_PIN, OUTPUT);
  skein.describe(F("greenhouse 1"), F("uno"));
  skein.sensor(F("rf:temperature:C"), readTemperature);
  skein.actuator(F("wb:vent"), setVent, readVent);
  skein.every(1000);
  skein.begin(skeinBoot());
}

void loop() {
  skein.loop();
  if (skein.isReady() && !skein.isAsking() && (int32_t)(millis() - askMs) >= 0) {
    askMs = millis() + 600000UL;
    skein.ask(F("When should a greenhouse be aired? One sentence."), onAnswer, SkeinAsk(60, 200));
  }
  skeinRest();
}
