#include "Skein.h"

// Repeats, in ms: what is not answered was lost.
static const uint16_t HELLO_MS = 2000, ASK_MS = 2000, CREDIT_MS = 5000, TELE_MS = 3000;
static const uint16_t REVOKED_MS = 60000;
// What an `infer` or a `prompt` has besides its text, at most.
static const uint8_t ASK_OVERHEAD = 28, PROMPT_OVERHEAD = 8;

bool Skein::add(SkeinText what, SkeinRead read, SkeinWrite write) {
  if (count_ == SKEIN_CAPABILITIES) return false;
  Capability &added = capabilities_[count_++];
  added.what = what;
  added.read = read;
  added.write = write;
  return true;
}

void Skein::begin(uint32_t boot) {
  boot_ = boot;
  connection_ = transport_.connections;
  outMax_ = transport_.outMax;
  teleMs_ = saidMs_ = millis();
  helloMs_ = (uint16_t)saidMs_ - HELLO_MS;
}

void Skein::open(uint8_t fields) { out_.begin(transport_.out, outMax_, fields); }

bool Skein::say(uint8_t type) {
  if (out_.isOver) return false;
  transport_.send(type, out_.length);
  saidMs_ = millis();
  return true;
}

void Skein::sayId(uint8_t type, uint16_t id) {
  open(1);
  out_.number(id);
  say(type);
}

void Skein::sleep(uint32_t seconds) {
  if (!isWelcome_) return;
  open(2);
  out_.digit(3);
  out_.number(seconds);
  say(SKEIN_STATE);
}

void Skein::awake() {
  if (!isWelcome_) return;
  open(1);
  out_.digit(1);
  say(SKEIN_STATE);
}

// Capabilities follow in messages of their own, as many as fit in each: some boards have more of them than a buffer holds.
void Skein::hello() {
  outMax_ = transport_.outMax;
  open(12);
  out_.digit(1);
  out_.text(firmware_);
  out_.number(transport_.rx);
  out_.digit(win_);
  out_.number(boot_);
  out_.number(count_);
  if (transport_.isMqtt) out_.digit(1);  // CBOR
  else out_.null();
  out_.digit(2);  // UTF-8: what comes is handed on as it is
  out_.null();
  out_.number(lastCmd_);
  out_.null();
  out_.text(class_);
  say(SKEIN_HELLO);
  for (uint8_t from = 0, until; from < count_; from = until) {
    // the index and the heads take 4 bytes, each string one or two more
    uint16_t room = outMax_ - 6;
    for (until = from; until < count_; until++) {
      const uint16_t bytes = 2 + capabilities_[until].what.length();
      if (bytes > room) break;
      room -= bytes;
    }
    if (until == from) return;
    open(2);
    out_.number(from);
    out_.list(until - from);
    for (uint8_t at = from; at < until; at++) out_.text(capabilities_[at].what);
    say(SKEIN_CAPS);
  }
}

bool Skein::tell(bool wantsAck) {
  if (!isWelcome_ || isAwaited_) return false;
  isAwaited_ = wantsAck;
  tele_++;
  if (sayTele()) return true;
  // none of that number was sent: the next one has it
  isAwaited_ = false;
  tele_--;
  return false;
}

bool Skein::sayTele() {
  teleMs_ = millis();
  open(3);
  out_.number(tele_);
  if (isAwaited_) out_.digit(1);
  else out_.null();
  uint8_t sensors = 0;
  for (uint8_t at = 0; at < count_; at++)
    if (capabilities_[at].read) sensors++;
  out_.list(2 * sensors);
  for (uint8_t at = 0; at < count_; at++) {
    if (!capabilities_[at].read) continue;
    SkeinValue value = SkeinValue();
    capabilities_[at].read(value);
    out_.number(at);
    out_.value(value);
  }
  return say(SKEIN_TELE);
}

void Skein::log(SkeinText text) {
  if (!isWelcome_) return;
  const uint16_t length = text.length();
  open(1);
  out_.text(text, 0, length < 64 ? length : 64);
  say(SKEIN_LOG);
}

bool Skein::ask(SkeinText prompt, SkeinAnswer answer, const SkeinAsk &how, SkeinText choices) {
  if (answer_ || !isWelcome_) return false;
  prompt_ = prompt;
  choices_ = choices;
  how_ = how;
  answer_ = answer;
  // odd, hence never 0: a failure under that is of no question
  askId_ = (askId_ + 1) | 1;
  next_ = 0;
  isAccepted_ = false;
  untilMs_ = millis() + 1000UL * how.ttlS + HELLO_MS;
  sayAsk();
  return true;
}

// The whole question, in parts where it is longer than a message. Asking again under the same id gets the same answer.
void Skein::sayAsk() {
  againMs_ = (uint16_t)millis();
  const uint16_t length = prompt_.length(), choiceBytes = choices_.length();
  if (outMax_ < choiceBytes + ASK_OVERHEAD + 8) return end(SKEIN_TOO_LARGE);
  const uint16_t room = outMax_ - ASK_OVERHEAD - choiceBytes, partRoom = outMax_ - PROMPT_OVERHEAD;
  uint16_t from = 0;
  uint8_t parts = 0;
  while (length - from > room) {
    // a character of several bytes must not be cut: those behind its first are 10xxxxxx
    uint16_t bytes = length - from < partRoom ? length - from : partRoom;
    while (bytes > 1 && from + bytes < length && (prompt_[from + bytes] & 0xc0) == 0x80) bytes--;
    open(3);
    out_.number(askId_);
    out_.number(parts++);
    out_.text(prompt_, from, bytes);
    if (!say(SKEIN_PROMPT)) return end(SKEIN_TOO_LARGE);
    from += bytes;
  }
  open(9);
  out_.number(askId_);
  out_.text(prompt_, from, length - from);
  out_.number(how_.ttlS);
  if (how_.bytesMax) out_.number(how_.bytesMax);
  else out_.null();
  out_.digit(how_.shape);
  if (!choices_.at) out_.null();
  else {
    // how many of `a|b|c` there are is known at the end: less than 24, which is one byte at `list`
    uint8_t *const list = transport_.out + out_.length;
    out_.list(0);
    uint16_t start = 0;
    for (uint16_t at = 0;; at++) {
      const char letter = choices_[at];
      if (letter && letter != '|') continue;
      out_.text(choices_, start, at - start);
      start = at + 1;
      ++*list;
      if (!letter) break;
    }
  }
  out_.null();
  out_.null();
  out_.number(parts);
  if (!say(SKEIN_INFER)) end(SKEIN_TOO_LARGE);
}

void Skein::cancel() {
  if (!answer_) return;
  sayId(SKEIN_CANCEL, askId_);
  answer_ = 0;
}

void Skein::end(uint8_t error) {
  const SkeinAnswer answer = answer_;
  if (!answer) return;
  // before the call: it may ask again
  answer_ = 0;
  SkeinPiece piece = {"", 0, true, error};
  answer(piece);
}

void Skein::credit(uint16_t id, uint8_t chunks) {
  open(3);
  out_.number(id);
  out_.number(next_);
  out_.number(chunks);
  say(SKEIN_CREDIT);
}

void Skein::onChunk(const SkeinValue *fields) {
  if (!answer_) {
    // it ended here: what came again need not come once more
    credit(askId_, 0);
    return;
  }
  const SkeinValue &text = fields[3];
  if ((uint16_t)fields[1].integer != next_ || text.type != SkeinValue::Text) {
    credit(askId_, win_);
    return;
  }
  next_++;
  const bool isLast = fields[2].integer;
  const uint16_t asked = askId_;
  // how it ended: 1 where it was cut, else 0 or 2
  SkeinPiece piece = {text.text, text.length, isLast, (uint8_t)-((uint8_t)fields[5].integer & 1)};
  const SkeinAnswer answer = answer_;
  if (isLast) answer_ = 0;
  // the text lies in the buffer of the transport, which is not read again before this returns
  answer(piece);
  // it may have asked the next question
  if (asked == askId_) credit(asked, isLast ? 0 : win_);
}

void Skein::result(uint32_t id) {
  open(4);
  out_.number(id);
  out_.digit(doneError_ == SKEIN_OK);
  out_.value(done_);
  if (doneError_) out_.digit(doneError_);
  else out_.null();
  say(SKEIN_RESULT);
}

void Skein::onCmd(const SkeinValue *fields) {
  const uint32_t id = (uint32_t)fields[0].integer;
  // an older one was carried out or is too late; the last one is only told again
  if (id < lastCmd_) return;
  if (id != lastCmd_) {
    lastCmd_ = id;
    done_ = fields[2];
    doneError_ = SKEIN_UNKNOWN_CAPABILITY;
    const bool hasValue = done_.type != SkeinValue::None;
    // as an unsigned byte: a name, or an index out of range, is none of ours
    const uint8_t index = fields[1].type == SkeinValue::Integer && !(fields[1].integer >> 8) ? fields[1].integer : 255;
    if (index < count_) {
      const Capability &called = capabilities_[index];
      if (called.write && (hasValue || called.what[0] == 'x')) doneError_ = called.write(done_);
      else if (called.read && !hasValue) {
        called.read(done_);
        doneError_ = SKEIN_OK;
      }
    }
  }
  result(id);
  // its text lies in a buffer that others write to
  if (done_.type == SkeinValue::Text) done_.type = SkeinValue::None;
}

void Skein::take() {
  SkeinValue fields[6];
  skeinRead(transport_.body, transport_.length, fields, 6);
  const uint8_t type = transport_.type;
  const uint32_t first = (uint32_t)fields[0].integer;
  if (type == SKEIN_WELCOME) {
    if ((uint32_t)fields[1].integer != boot_) return;
    beatMs_ = 500UL * (uint16_t)fields[3].integer;
    const uint16_t max = (uint16_t)fields[4].integer;
    if (max < outMax_ && max >= 48) outMax_ = max;
    if (!isWelcome_) teleMs_ = millis() - every_;
    isWelcome_ = true;
    isRevoked_ = false;
  }
  if (type == SKEIN_BYE) {
    isWelcome_ = false;
    isRevoked_ = first == SKEIN_REVOKED;
  }
  if (!isWelcome_) return;
  if (type == SKEIN_PING) {
    open(1);
    out_.number(first);
    say(SKEIN_PING);
  } else if (type == SKEIN_ACK) {
    recorded_ = first;
    if (first == tele_) isAwaited_ = false;
  } else if (type == SKEIN_CMD) onCmd(fields);
  else if (type == SKEIN_CLASS && label_) label_((uint8_t)first, fields[1], fields[2]);
  if ((uint16_t)first != askId_) return;
  if (type == SKEIN_FAIL) end((uint8_t)fields[1].integer);
  else if (type == SKEIN_CHUNK || type == SKEIN_ACCEPT) {
    isAccepted_ = true;
    againMs_ = (uint16_t)millis();
    if (type == SKEIN_CHUNK) onChunk(fields);
  }
}

void Skein::loop() {
  while (transport_.poll()) take();
  const uint32_t now = millis();
  if (transport_.connections != connection_) {
    connection_ = transport_.connections;
    isWelcome_ = false;
    helloMs_ = (uint16_t)now - REVOKED_MS;
  }
  if (answer_) {
    const uint16_t silence = (uint16_t)now - againMs_;
    if ((int32_t)(now - untilMs_) >= 0) end(SKEIN_DEADLINE);
    else if (isWelcome_ && !isAccepted_ && silence >= ASK_MS) sayAsk();
    else if (isWelcome_ && isAccepted_ && silence >= CREDIT_MS) {
      againMs_ = (uint16_t)now;
      credit(askId_, win_);
    }
  }
  if (!isWelcome_) {
    if ((uint16_t)((uint16_t)now - helloMs_) < (isRevoked_ ? REVOKED_MS : HELLO_MS)) return;
    helloMs_ = (uint16_t)now;
    hello();
    return;
  }
  // not `now`: something may have been said since
  const uint32_t silence = millis() - teleMs_;
  if (isAwaited_) {
    if (silence >= TELE_MS) sayTele();
  } else if (every_ && silence >= every_) tell();
  if (beatMs_ && millis() - saidMs_ >= beatMs_) awake();
}
