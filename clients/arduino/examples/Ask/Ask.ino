// The smallest sketch: asks one question over the USB cable, and blinks the answer's length.
#include <Skein.h>

static SkeinLink link(Serial);
static Skein skein(link);
static bool isAsked;
static uint16_t letters;

static void onAnswer(const SkeinPiece &piece) {
  // pieces come in order and once each; show them as they come
  letters += piece.length;
  if (piece.isLast) digitalWrite(LED_BUILTIN, piece.error == SKEIN_OK && letters > 0 ? HIGH : LOW);
}

void setup() {
  Serial.begin(115200);
  pinMode(LED_BUILTIN, OUTPUT);
  skein.describe(F("ask 1.0"), F("uno"));
  skein.begin(skeinBoot());
}

void loop() {
  skein.loop();
  if (skein.isReady() && !isAsked)
    isAsked = skein.ask(F("What is the capital of Iceland?"), onAnswer, SkeinAsk(30, 64, SKEIN_WORD));
  skeinRest();
}
