// A board in a Skein mesh: joins, tells what it measures, does what it is told once, and asks models. See README.md.
//
//   SkeinLink link(Serial);
//   Skein skein(link);
//   void setup() { Serial.begin(115200); skein.sensor(F("rf:temperature:C"), readTemperature); skein.begin(skeinBoot()); }
//   void loop() { skein.loop(); }
#pragma once
#include "SkeinLink.h"

#ifndef SKEIN_CAPABILITIES
#ifdef __AVR__
#define SKEIN_CAPABILITIES 6
#else
#define SKEIN_CAPABILITIES 32
#endif
#endif

// Compact errors, as a board is told them. 20 and above come from newer bridges.
enum SkeinError : uint8_t {
  SKEIN_OK = 0,
  SKEIN_MALFORMED = 1,
  SKEIN_TOO_LARGE,
  SKEIN_RATE_LIMITED,
  SKEIN_QUOTA,
  SKEIN_NO_MODEL,
  SKEIN_BUSY,
  SKEIN_DEADLINE,
  SKEIN_NOT_PERMITTED,
  SKEIN_LOST,
  SKEIN_UNKNOWN_ID,
  SKEIN_EXPIRED,
  SKEIN_OFFLINE,
  SKEIN_UNKNOWN_CAPABILITY,
  SKEIN_OUT_OF_RANGE,
  SKEIN_REVOKED,
  SKEIN_SAY_HELLO,
  SKEIN_STORAGE_FULL,
  SKEIN_DUPLICATE,
  SKEIN_INTERNAL,
  SKEIN_NO_ANSWER,
  // The library's own: of an answer that was cut, by the model's length or by the deadline, this is the beginning.
  SKEIN_CUT = 255
};

// Which form an answer has.
enum SkeinShape : uint8_t { SKEIN_TEXT, SKEIN_WORD, SKEIN_NUMBER, SKEIN_YESNO, SKEIN_CHOICE, SKEIN_JSON };

// Gives the value that is measured, or set.
typedef void (*SkeinRead)(SkeinValue &value);
// Sets `value`, or runs a command; SKEIN_OK, or why not. May leave in `value` what was really set.
typedef uint8_t (*SkeinWrite)(SkeinValue &value);

// A piece of an answer, in order and once: `text` of `length` bytes, not ended by a zero. `isLast` with the last one; then
// `error` says whether it is whole. A failure has no text.
struct SkeinPiece {
  const char *text;
  uint8_t length;
  bool isLast;
  uint8_t error;
};
typedef void (*SkeinAnswer)(const SkeinPiece &piece);

// What a sensor model of the mesh says of readings: of the capability at that place in the order of their description, from 0,
// a label such as `stuck`, a text that is not ended by a zero, and a score from 0 to 1.
typedef void (*SkeinLabel)(uint8_t capability, const SkeinValue &label, const SkeinValue &score);

struct SkeinAsk {
  uint16_t ttlS;      // something must have come by then
  uint16_t bytesMax;  // of the whole answer; 0: as the bridge has it
  SkeinShape shape;

  SkeinAsk(uint16_t ttlS = 30, uint16_t bytesMax = 0, SkeinShape shape = SKEIN_TEXT)
      : ttlS(ttlS), bytesMax(bytesMax), shape(shape) {}
};

// A number that differs from start to start. On AVR it is counted in the last four bytes of the EEPROM.
uint32_t skeinBoot();

class Skein {
 public:
  // As a static object: its memory is all zero before this, which spares saying so.
  explicit Skein(SkeinTransport &transport) : transport_(transport), win_(1) {}

  // Capabilities, before begin(): `what` stays where it is, such as F("rf:temperature:C"). False when there are too many.
  bool sensor(SkeinText what, SkeinRead read) { return add(what, read, 0); }
  bool actuator(SkeinText what, SkeinWrite write, SkeinRead read = 0) { return add(what, read, write); }
  bool command(SkeinText what, SkeinWrite run) { return add(what, 0, run); }
  // A model on the board itself: its answer is read like a sensor.
  bool model(SkeinText what, SkeinRead read) { return add(what, read, 0); }
  // At most 16 and 12 bytes, shown to people.
  void describe(SkeinText firmware, SkeinText boardClass) { firmware_ = firmware; class_ = boardClass; }
  // Chunks of an answer that may be under way at once: more than 1 only where the serial buffer has room for them.
  void window(uint8_t chunks) { win_ = chunks; }
  // Tells all sensors each `ms`; 0: only when tell() is called.
  void every(uint32_t ms) { every_ = ms; }

  void begin(uint32_t boot);
  // To be called often: does what there is to do, and does not wait.
  void loop();

  bool isReady() const { return isWelcome_; }
  // Tells all sensors now. `wantsAck`: it is told again under its number, with what the sensors have then, until it is
  // recorded and recorded() is that number; until then nothing newer is told, and this is false.
  bool tell(bool wantsAck = false);
  // Of the message that is told now, while sensors are read; else of the last one.
  uint32_t number() const { return tele_; }
  uint32_t recorded() const { return recorded_; }

  // Asks. `prompt` must stay where it is until the answer has come. False while another question is open.
  // `choices`: F("open|closed"), at most 23 of them, with SKEIN_CHOICE.
  bool ask(SkeinText prompt, SkeinAnswer answer, const SkeinAsk &how = SkeinAsk(), SkeinText choices = SkeinText());
  bool isAsking() const { return answer_ != 0; }
  void onLabel(SkeinLabel label) { label_ = label; }
  void cancel();

  void log(SkeinText text);
  // Says that the board will sleep and wakes in `seconds`; what is for it waits until then.
  void sleep(uint32_t seconds);
  void awake();

 private:
  struct Capability {
    SkeinText what;
    SkeinRead read;
    SkeinWrite write;
  };
  SkeinTransport &transport_;
  SkeinWriter out_;
  Capability capabilities_[SKEIN_CAPABILITIES];
  SkeinText firmware_, class_, prompt_, choices_;
  SkeinAnswer answer_;
  SkeinLabel label_;
  SkeinAsk how_;
  SkeinValue done_;  // of the last command
  uint32_t boot_, tele_, recorded_, every_, lastCmd_;
  uint32_t saidMs_, beatMs_, teleMs_, untilMs_;
  uint16_t helloMs_, againMs_;  // low halves: what is measured with them is short
  uint16_t outMax_, askId_, next_;
  uint8_t count_, win_, doneError_, connection_;
  bool isWelcome_, isRevoked_, isAccepted_, isAwaited_;

  bool add(SkeinText what, SkeinRead read, SkeinWrite write);
  void open(uint8_t fields);
  bool say(uint8_t type);
  void sayId(uint8_t type, uint16_t id);
  void hello();
  bool sayTele();
  void take();
  void onCmd(const SkeinValue *fields);
  void result(uint32_t id);
  void sayAsk();
  void credit(uint16_t id, uint8_t chunks);
  void onChunk(const SkeinValue *fields);
  void end(uint8_t error);
};

// Idle until something happens, on boards that can: for sketches that have nothing to do.
void skeinRest();
