// Asks over Wi-Fi and MQTT, and tells a temperature. `skein devices add NAME` prints skein_secrets.h: put it beside this file.
// It also compiles as a program of Linux: extras/host/build.sh.
#include <Skein.h>
#include <SkeinMqtt.h>

#if defined(ESP32)
#include <WiFi.h>
static WiFiClient network;
#elif defined(ESP8266)
#include <ESP8266WiFi.h>
static WiFiClient network;
#elif defined(SKEIN_ON_HOST)
#include <HostClient.h>
static HostClient network;
#else
#include <WiFi.h>
static WiFiClient network;
#endif

#include "skein_secrets.h"

static SkeinMqtt mqtt(network, SKEIN_HOST, SKEIN_PORT, SKEIN_DEVICE, SKEIN_KEY);
static Skein skein(mqtt);
static uint32_t askedMs;

static void readTemperature(SkeinValue &value) { value.setReal(analogRead(A0) * 0.05f); }

static uint8_t setLed(SkeinValue &value) {
  digitalWrite(LED_BUILTIN, value.asBoolean());
  return SKEIN_OK;
}

static void onAnswer(const SkeinPiece &piece) {
  Serial.write((const uint8_t *)piece.text, piece.length);
  if (!piece.isLast) return;
  if (piece.error != SKEIN_OK) {
    Serial.print(F("no answer, code "));
    Serial.print((long)piece.error);
  }
  Serial.println();
}

void setup() {
  Serial.begin(115200);
  pinMode(LED_BUILTIN, OUTPUT);
#ifdef SKEIN_WIFI_NAME
  WiFi.begin(SKEIN_WIFI_NAME, SKEIN_WIFI_PASSWORD);
  while (WiFi.status() != WL_CONNECTED) delay(100);
#endif
  skein.describe(F("ask 1.0"), F("wifi"));
  skein.sensor(F("rf:temperature:C"), readTemperature);
  skein.actuator(F("wb:led"), setLed);
  skein.every(5000);
  skein.begin(skeinBoot());
}

void loop() {
  skein.loop();
  if (skein.isReady() && !skein.isAsking() && (askedMs == 0 || millis() - askedMs > 600000UL)) {
    askedMs = millis();
    skein.ask(F("Why is the sky blue? Answer in one sentence."), onAnswer, SkeinAsk(60, 400));
  }
  skeinRest();
}
