import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import type { ChatMessage, ThinkingWish, Tool } from '../../../mesh/protocol/index.ts'
import { callSyntaxOf, ChatTemplate, strftime } from '../../../node/engines/llama/chat-template.ts'
import { shortId } from '../../../node/engines/llama/call-forms.ts'
import { thinkingOf } from '../../../node/engines/llama/thinking.ts'
import { PLAIN_CALL_TEMPLATE, TOOL_TEMPLATE } from '../../fixtures/models/index.ts'

const VARIABLES = { bos_token: '<s>', eos_token: '</s>', eot_token: '<eot>' }
const NOW = new Date(2026, 10, 3, 9, 5).getTime()

const templateOf = (source: string | undefined, isPlain = (word: string): boolean => word !== 'EVIL'): ChatTemplate =>
  new ChatTemplate(source, VARIABLES, () => NOW, isPlain)
const say = (role: ChatMessage['role'], content: string, more: Partial<ChatMessage> = {}): ChatMessage => ({
  role,
  content,
  ...more,
})

/** The rendered text, with what was told in double angle brackets. */
function rendered(source: string | undefined, messages: readonly ChatMessage[], tools?: Tool[]): string {
  return templateOf(source)
    .render({ kind: 'chat', messages: [...messages], ...(tools && { tools }) })
    .map(({ text, isMarkup }) => (isMarkup ? text : `«${text}»`))
    .join('')
}

const EACH = `{% for m in messages %}[{{ m.role }}]{{ m.content }}{% endfor %}{% if add_generation_prompt %}[go]{% endif %}`
const THERMOMETER: Tool = {
  name: 'greenhouse.temperature',
  description: 'Reads "it" in <C|',
  parameters: '{"type":"object","properties":{"ein wert":{"type":"string","enum":["C","<F>"]}},"n":1.5}',
}

describe('a chat without tools', () => {
  it('has its markup from the template and its texts from the messages', () => {
    expect(rendered(EACH, [say('system', 'be kind'), say('user', 'hi ~@0"@~ [go]')])).toBe(
      '[system]«be kind»[user]«hi ~@0"@~ [go]»[go]',
    )
  })

  it('knows the names of the tokens, the date, and Python’s way to count', () => {
    const source = `{{ bos_token + eos_token + eot_token }}{{ strftime_now('%d %b %Y, %A %H:%M %%%q') }}{% for i in range(1, 6, 2) %}{{ i }}{% endfor %}{{ messages[0].content }}{% if add_generation_prompt and enable_thinking %}!{% endif %}`
    expect(rendered(source, [say('user', 'x')])).toBe('<s></s><eot>03 Nov 2026, Tuesday 09:05 %%q135«x»!')
    expect(strftime('%B %y %m %S %a', new Date(NOW))).toBe('November 26 11 00 Tue')
  })

  it('shows developers as system, and tools as users where there are none', () => {
    expect(rendered(EACH, [say('developer', 'a'), say('tool', 'b', { toolCallId: '1' })])).toBe(
      '[system]«a»[user]«b»[go]',
    )
  })

  it('is joined for templates that insist on alternating roles', () => {
    const strict = `{% for m in messages %}{% if loop.index0 > 0 and m.role == messages[loop.index0 - 1].role %}{{ raise_exception('roles must alternate') }}{% endif %}[{{ m.role }}]{{ m.content }}{% endfor %}{% if add_generation_prompt %}[go]{% endif %}`
    expect(rendered(strict, [say('user', 'a'), say('user', 'b'), say('assistant', 'c')])).toBe(
      '[user]«a\n\nb»[assistant]«c»[go]',
    )
  })

  it('has the system speak as a user to templates without it', () => {
    const none = `{% for m in messages %}{% if m.role == 'system' %}{{ raise_exception('no system') }}{% endif %}[{{ m.role }}]{{ m.content }}{% endfor %}{% if add_generation_prompt %}[go]{% endif %}`
    expect(rendered(none, [say('system', 'a'), say('user', 'b')])).toBe(
      '[user]«### System message\n\na\n\n----»[user]«b»[go]',
    )
  })

  it('is shown an empty list of tools by templates that cannot do without one', () => {
    const listing = `{% for t in tools %}{{ t.function.name }}{% endfor %}${EACH}`
    expect(rendered(listing, [say('user', 'a')])).toBe('[user]«a»[go]')
  })

  it('begins the answer for templates that do not', () => {
    const closing = `{% for m in messages %}<{{ m.role }}>{{ m.content }}</{{ m.role }}>{% endfor %}`
    expect(rendered(closing, [say('user', 'a')])).toBe('<user>«a»</user><assistant>')
  })

  it.each([
    ['always', `{{ raise_exception('no') }}`],
    ['by leaving messages out', `{{ messages[0].content }}{% if add_generation_prompt %}[go]{% endif %}`],
    [
      'by cutting texts',
      `{% for m in messages %}{{ m.content[:3] }}{% endfor %}{% if add_generation_prompt %}!{% endif %}`,
    ],
    [
      'by changing texts',
      `{% for m in messages %}{{ m.content | replace('"', '') }}{% endfor %}{% if add_generation_prompt %}!{% endif %}`,
    ],
    ['by counting too far', `{% for i in range(100000000) %}x{% endfor %}`],
  ])('is refused by a template that refuses %s', (_how, source) => {
    expect(() => rendered(source, [say('user', 'abcdef'), say('assistant', 'b'), say('user', 'c')])).toThrow(
      expect.objectContaining({ code: 'ENGINE_FAILED' }),
    )
  })

  it('needs a template that can be read', () => {
    expect(() => templateOf('{% if %}')).toThrow(expect.objectContaining({ code: 'MODEL_LOAD_FAILED' }))
  })

  it('has a plain form when the model has no template', () => {
    expect(rendered(undefined, [say('system', 'a'), say('user', 'b'), say('assistant', 'c'), say('user', 'd')])).toBe(
      '<s>«a»\n\n### Human\n«b»\n\n### Assistant\n«c»\n\n### Human\n«d»\n\n### Assistant\n',
    )
    expect(templateOf(undefined).hasTools).toBe(false)
  })
})

describe('a chat with tools', () => {
  const called = { id: 'call_1', name: 'greenhouse.temperature', arguments: '{"ein wert": "a \\"b\\"", "n": 1.5}' }

  it('shows them as the template does, and texts within JSON as JSON has them', () => {
    const text = rendered(TOOL_TEMPLATE, [say('user', 'How warm?')], [THERMOMETER])
    expect(text).toContain(
      '{"type": "function", "function": {"name": "greenhouse.temperature", "description": "«Reads \\"it\\" in <C|»", "parameters": {"type": "object", "properties": {"«ein wert»": {"type": "string", "enum": ["C", "«<F>»"]}}, "n": 1.5}}}',
    )
    expect(text).toMatch(/<\|im_start\|>user\n«How warm\?»<\|im_end\|>\n<\|im_start\|>assistant\n$/)
  })

  it('shows calls and their results', () => {
    const text = rendered(TOOL_TEMPLATE, [
      say('user', 'How warm?'),
      say('assistant', '', { toolCalls: [called, { ...called, id: 'call_2', arguments: '{}' }] }),
      say('tool', '17 "°C"\n', { toolCallId: 'call_1' }),
      say('tool', '18', { toolCallId: 'call_2' }),
    ])
    expect(text).toContain(
      `<|im_start|>assistant\n<tool_call>\n{"name": "greenhouse.temperature", "arguments": {"«ein wert»": "«a \\"b\\"»", "n": 1.5}}\n</tool_call>\n<tool_call>\n{"name": "greenhouse.temperature", "arguments": {}}\n</tool_call><|im_end|>\n`,
    )
    expect(text).toContain(
      '<|im_start|>user\n<tool_response>\n«17 "°C"\n»\n</tool_response>\n<tool_response>\n«18»\n</tool_response><|im_end|>\n',
    )
  })

  it('names the tool of a result by its call', () => {
    const source = `<tool_call>{{ tools }}{% for m in messages %}[{{ m.name }}|{{ m.tool_call_id }}]{{ m.content }}{% endfor %}{% if add_generation_prompt %}!{% endif %}`
    const messages = [say('assistant', 'x', { toolCalls: [called] }), say('tool', 'y', { toolCallId: 'call_1' })]
    expect(rendered(source, messages, [THERMOMETER])).toContain('[greenhouse.temperature|call_1]«y»')
  })

  it('puts texts that went through JSON twice back as that has them', () => {
    const source = `<tool_call>{% for t in tools %}{{ t | tojson | tojson }}{% endfor %}{% for m in messages %}{{ m.content }}{% endfor %}{% if add_generation_prompt %}!{% endif %}`
    expect(rendered(source, [say('user', 'x')], [THERMOMETER])).toContain(
      '\\"description\\": \\"«Reads \\\\\\"it\\\\\\" in <C|»\\"',
    )
  })

  it('is refused when the template leaves half a placeholder of a tool', () => {
    const source = `<tool_call>{{ tools[0].function.description[:3] }}${EACH}`
    expect(() => rendered(source, [say('user', 'x')], [THERMOMETER])).toThrow(/refuses these messages/)
  })

  it('has no word in its markup that is a special token', () => {
    const tool = { name: 'x', description: 'EVIL', parameters: '{"type":"EVIL"}' }
    expect(rendered(TOOL_TEMPLATE, [say('user', 'x')], [tool])).toContain(
      '"description": "«EVIL»", "parameters": {"type": "«EVIL»"}',
    )
  })

  it('is told in words where the template knows no tools, with calls and results in the messages', () => {
    const [call, other] = [called, { ...called, id: 'call_2', name: 'say', arguments: '{}' }]
    const chat = [
      say('user', 'how warm?'),
      say('assistant', 'I look.', { toolCalls: [call, other] }),
      say('tool', '21 <tool_call>', { toolCallId: 'call_1' }),
    ]
    const text = rendered(EACH, [say('system', 'be kind'), ...chat], [THERMOMETER])
    expect(text).toContain(
      `{"name": "greenhouse.temperature", "description": "Reads \\"it\\" in <C|", "parameters": ${THERMOMETER.parameters}}\n`,
    )
    expect(text).toMatch(/^\[system\]«You can call [^«»]*\n\nbe kind»\[user\]«how warm\?»/)
    expect(text).toMatch(
      /\[assistant\]«I look\.\n<tool_call>\n\{"name": "greenhouse\.temperature", "arguments": [^»]*\}\n<\/tool_call>\n<tool_call>\n\{"name": "say", "arguments": \{\}\}\n<\/tool_call>»\[user\]«<tool_response>\n21 <tool_call>\n<\/tool_response>»\[go\]$/,
    )
    expect(rendered(EACH, [say('user', 'x')], [THERMOMETER])).toMatch(
      /^\[system\]«You can call [^»]*»\[user\]«x»\[go\]$/,
    )
    // as it is to a model of which no tools are asked
    expect(rendered(EACH, chat)).toMatch(/^\[user\]«how warm\?»\[assistant\]«I look\.\n<tool_call>/)
    const noSystem = `{% if messages[0].role == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}${EACH}`
    expect(rendered(noSystem, [say('user', 'x')], [THERMOMETER])).toMatch(
      /^\[user\]«### System message\n\nYou can call /,
    )
  })

  it('is of templates that show tools and write our markup', () => {
    expect(templateOf(TOOL_TEMPLATE).hasTools).toBe(true)
    expect(templateOf(EACH).callSyntax).toBe('tagged')
    expect(templateOf(`${EACH}{# tools <tool_call> #}`).hasTools).toBe(false)
    expect(callSyntaxOf('{{ mytoolset }} <tool_call>')).toBeUndefined()
    expect(callSyntaxOf('{{ tools }} <tool_call>')).toBe('tagged')
    expect(callSyntaxOf('{{ tools }} {"name": function, "parameters": dictionary}')).toBe('plain')
    expect(callSyntaxOf('{{ tools }} {"name": function, "parameters": dictionary} </think>')).toBeUndefined()
  })

  it.each<[string, string | undefined]>([
    ['[TOOL_CALLS] [', 'mistral'],
    ['[TOOL_CALLS]name[ARGS]', 'mistral-named'],
    ['<tool_call>\n<function=x>\n<parameter=y>', 'parameters'],
    ['<function=x>{}</function>', undefined],
    ['<tool_call>x\n<arg_key>y</arg_key>', undefined],
    ['<｜tool▁call▁begin｜>function<｜tool▁sep｜>x\n```json\n', 'deepseek'],
    ['<｜tool▁call▁begin｜>x<｜tool▁sep｜>', 'deepseek-bare'],
    ['<|START_ACTION|>[{"tool_call_id": "0", "tool_name": "x"', 'command'],
    ['<|START_ACTION|>[{"name": "x"', undefined],
    ['answer with <|tool_call|> and a list', 'granite'],
    ['<|tool_call|>{}<|/tool_call|>', 'phi'],
    ['[TOOLS]', undefined],
  ])('has the syntax of %j', (words, syntax) => {
    expect(callSyntaxOf(`{{ tools }} ${words}`)).toBe(syntax)
    expect(callSyntaxOf(words)).toBeUndefined()
  })

  describe('whose template wants earlier calls in a form of its own', () => {
    const chat = [
      say('user', 'go'),
      say('assistant', '', { toolCalls: [called] }),
      say('tool', '17', { toolCallId: 'call_1' }),
    ]
    /** In front of each message, what writes the calls of an assistant. */
    const formed = (mark: string, calls: string): string =>
      `{{ tools | tojson }}{# ${mark} #}{% for m in messages %}[{{ m.role }}]{% if m.tool_calls %}${calls}{% endif %}{% if m.content is not none %}{{ m.content }}{% endif %}{% endfor %}{% if add_generation_prompt %}[go]{% endif %}`

    it('as text', () => {
      const source = formed(
        '[TOOL_CALLS]',
        `{% if m.tool_calls[0].function.arguments is not string %}{{ raise_exception('text') }}{% endif %}{{ m.tool_calls[0].function.name + m.tool_calls[0].function.arguments }}`,
      )
      expect(rendered(source, chat, [THERMOMETER])).toContain(
        '[assistant]greenhouse.temperature{"«ein wert»":"«a \\"b\\"»","n":1.5}[tool]«17»',
      )
    })

    it('with no content', () => {
      const source = formed(
        '<｜tool▁call▁begin｜>',
        `{% if m.content is none %}{{ m.tool_calls[0].function.name }}{{ m.tool_calls[0].function.arguments | tojson }}{% endif %}`,
      )
      expect(rendered(source, chat, [THERMOMETER])).toContain(
        '[assistant]greenhouse.temperature{"«ein wert»": "«a \\"b\\"»", "n": 1.5}[tool]«17»',
      )
      // what was said in front of a call is a message of its own
      const [asked, , result] = chat
      const both = [asked!, say('assistant', 'well', { toolCalls: [called], thought: 'hm' }), result!]
      expect(rendered(source, both, [THERMOMETER])).toContain('[assistant]«well»[assistant]greenhouse.temperature{')
    })

    it('in the content, as its models write them', () => {
      expect(rendered(formed('<|tool_call|>', ''), chat, [THERMOMETER])).toContain(
        '[assistant]<|tool_call|>[{"name":"greenhouse.temperature","arguments":{"«ein wert»":"«a \\"b\\"»","n":1.5}}][tool]«17»',
      )
      // of no other syntax is it known how
      expect(rendered(formed('[TOOL_CALLS]', ''), chat, [THERMOMETER])).toContain('[assistant][tool]«17»')
    })

    it('with ids of nine letters and digits, the same of a call and its result', () => {
      const source = `{{ tools | tojson }}{# [TOOL_CALLS] #}{% for m in messages %}{% for id in [m.tool_call_id] if m.tool_call_id %}{% if id | length != 9 %}{{ raise_exception('ids') }}{% endif %}<{{ id }}>{% endfor %}{% for c in m.tool_calls or [] %}{% if c.id | length != 9 %}{{ raise_exception('ids') }}{% endif %}({{ c.id }}{{ c.function | tojson }}){% endfor %}{{ m.content }}{% endfor %}{% if add_generation_prompt %}[go]{% endif %}`
      const text = rendered(source, chat, [THERMOMETER])
      const [, id] = /\((\w{9})\{/.exec(text)!
      expect(text).toContain(`<${id}>«17»`)
      expect(id).toMatch(/^[a-z0-9]{9}$/)
    })
  })

  it('opens no answer for a template that opens one without being asked', () => {
    const source = `{{ tools }}{# <|START_ACTION|> "tool_name" #}{% for m in messages %}<|{{ m.role }}|>{% if m.role == 'assistant' %}<|START_RESPONSE|>{% endif %}{{ m.content }}{% endfor %}<|CHATBOT|>`
    expect(rendered(source, [say('user', 'a')])).toBe('<|user|>«a»<|CHATBOT|>')
  })

  it('has one call in each message where the template takes no more', () => {
    const toolCalls = ['1', '2', '3'].map((id) => ({ id, name: `n${id}`, arguments: '{}' }))
    const text = rendered(
      PLAIN_CALL_TEMPLATE,
      [
        say('user', 'go'),
        say('assistant', '', { toolCalls }),
        say('tool', 'two', { toolCallId: '2' }),
        say('tool', 'one', { toolCallId: '1' }),
        say('tool', 'other', { toolCallId: '9' }),
      ],
      [THERMOMETER],
    )
    expect([...text.matchAll(/"name": "(n\d)"|«(\w+)»/g)].map(([, name, said]) => name ?? said)).toEqual(
      expect.arrayContaining(['go', 'n1', 'one', 'n2', 'two', 'n3', 'other']),
    )
    expect(text.indexOf('«one»')).toBeLessThan(text.indexOf('"n2"'))
    expect(text.indexOf('«two»')).toBeLessThan(text.indexOf('"n3"'))
  })

  it('is the chat that was told, whatever that says', () => {
    const text = fc.oneof(
      fc.string({ unit: 'grapheme', maxLength: 20 }),
      fc.constantFrom('<|im_end|>', '~@0"@~', '~@1\\"@~', '{{ x }}', '<tool_call>', '"', '\\', '~@', '"@~'),
    )
    fc.assert(
      fc.property(text, text, text, text, (user, description, key, value) => {
        const parameters = JSON.stringify({ type: 'object', properties: { [`k${key}`]: { const: value } } })
        const pieces = templateOf(TOOL_TEMPLATE).render({
          kind: 'chat',
          messages: [say('user', user)],
          tools: [{ name: 'x', description, parameters }],
        })
        const whole = pieces.map((piece) => piece.text).join('')
        const line = whole.split('<tools>\n')[1]!.split('\n</tools>')[0]!
        expect(JSON.parse(line)).toEqual({
          type: 'function',
          function: { name: 'x', description, parameters: JSON.parse(parameters) },
        })
        expect(whole.endsWith(`user\n${user}<|im_end|>\n<|im_start|>assistant\n`)).toBe(true)
        const markup = pieces.filter(({ isMarkup }) => isMarkup).map((piece) => piece.text)
        expect(markup.join('').split('<|im_end|>')).toHaveLength(3)
      }),
    )
  })
})

describe('thoughts', () => {
  const opensOf = (source: string) => thinkingOf(source)?.opens
  const go = (opening: string): string =>
    `{% for m in messages %}{{ m.content.split('</think>')[-1] }}{% endfor %}{% if add_generation_prompt %}[go]${opening}{% endif %}`

  it.each<[string, string, object | undefined]>([
    ['its models begin', go(''), { unsaid: false, on: false, off: false }],
    ['the prompt opens', go('<think>\n'), { unsaid: true, on: true, off: true }],
    [
      'the prompt closes when told not to think',
      go('{% if enable_thinking is defined and not enable_thinking %}<think>\n\n</think>\n\n{% endif %}'),
      { unsaid: false, on: false, off: false },
    ],
    [
      'the prompt opens unless told not to',
      go('{% if enable_thinking %}<think>{% else %}</think>{% endif %}'),
      { unsaid: true, on: true, off: false },
    ],
    [
      'the prompt opens when told to',
      go('{% if thinking is defined and thinking %}<think>{% else %}</think>{% endif %}'),
      { unsaid: false, on: true, off: false },
    ],
    ['there are none of', EACH, undefined],
    ['cannot be read', '{% if </think>', undefined],
    [
      'never ends',
      `{% for i in range(4000) %}{% for j in range(4000) %}{% for k in range(4000) %}{% endfor %}{% endfor %}{% endfor %}</think>`,
      undefined,
    ],
  ])('of a template that %s', (_what, source, opens) => {
    expect(opensOf(source)).toEqual(opens)
  })

  it('of past answers are given to a template that asks for them', () => {
    const source = `{% for m in messages %}[{{ m.role }}]{% if m.reasoning_content %}<think>{{ m.reasoning_content.strip('\\n') }}</think>{% endif %}{{ m.content }}{% endfor %}{% if add_generation_prompt %}[go]{% endif %}`
    const thought = 'why </think> not'
    expect(rendered(source, [say('assistant', 'a', { thought }), say('user', 'b')])).toBe(
      '[assistant]<think>«why </think> not»</think>«a»[user]«b»[go]',
    )
    expect(rendered(EACH, [say('assistant', 'a', { thought }), say('user', 'b')])).toBe('[assistant]«a»[user]«b»[go]')
  })

  it('are wished for by the names that templates know', () => {
    const source = `{{ messages[0].content }}{% if add_generation_prompt %}{{ reasoning_effort }} {{ enable_thinking }} {{ thinking }}{% endif %}`
    const asked = (thinking: ThinkingWish): string =>
      templateOf(source)
        .render({ kind: 'chat', messages: [say('user', '')], thinking })
        .map(({ text }) => text)
        .join('')
    expect(asked({ isOn: true, effort: 'high' })).toBe('high true true')
    expect(asked({ isOn: false })).toMatch(/ false false$/)
  })
})

describe('a short id', () => {
  it('is nine letters and digits, itself where it is so already', () => {
    expect(shortId('aB3456789')).toBe('aB3456789')
    fc.assert(
      fc.property(fc.string(), (id) => {
        expect(shortId(id)).toMatch(/^[A-Za-z0-9]{9}$/)
        expect(shortId(id)).toBe(shortId(id))
      }),
    )
  })

  it('tells the calls of one chat apart', () => {
    const ids = Array.from({ length: 2048 }, (_, i) => shortId(`call_01HZXK3V9M_${i}`))
    expect(new Set(ids).size).toBe(ids.length)
  })
})
