/** The mesh's models as tools: to list them, to ask them, and for work that is no text; and how the mesh is. */
import { Type } from 'typebox'
import { asRequestId, LIMITS, SkeinError, type Work, type WorkResult } from '../../mesh/protocol/index.ts'
import type { Caller } from '../access/index.ts'
import type { ModelView } from '../admission/index.ts'
import { granted, visibleTo } from './callers.ts'
import { askTool, onlyModel } from './mcp-ask.ts'
import { toolOf, type McpTool, type ToolContext, type ToolSource } from './mcp-tools.ts'
import { identified } from './named-models.ts'
import { numbersOf } from './work-answers.ts'
import { classifyWork, embedWork } from './work-requests.ts'
import { ofKind, type WorkComponents } from './work-routes.ts'

/** Texts of one call: their vectors go into one message, which a model is to read. */
const TEXTS_MAX = 64

const NO_INPUT = Type.Object({}, { additionalProperties: false })

const workInput = {
  model: Type.Optional(
    Type.String({ maxLength: 256, description: 'Name of a model. May be left out where there is one alone.' }),
  ),
  texts: Type.Array(Type.String({ maxLength: LIMITS.workTextLengthMax }), {
    minItems: 1,
    maxItems: TEXTS_MAX,
    description: `1 to ${TEXTS_MAX} texts.`,
  }),
}

export function meshTools(components: WorkComponents): ToolSource {
  const ask = askTool(components)
  const list = listTool(components)
  const embed = embedTool(components)
  const classify = classifyTool(components)
  const status = statusTool(components)
  return {
    tools(caller) {
      const features = new Set(visibleTo(caller, components.service.models()).flatMap((model) => model.features))
      return [
        ask,
        list,
        ...(features.has('embed') ? [embed] : []),
        ...(features.has('classify') ? [classify] : []),
        ...(mayReadMesh(caller) ? [status] : []),
      ]
    },
  }
}

const mayReadMesh = ({ isAdmin, grant }: Caller): boolean => isAdmin || grant.routes.includes('mesh')

const listTool = ({ service }: WorkComponents): McpTool =>
  toolOf({
    name: 'list_models',
    title: 'List the models',
    description: "Lists the models that run on the user's own devices, and what each can do.",
    inputSchema: NO_INPUT,
    outputSchema: Type.Object({
      models: Type.Array(
        Type.Object({
          name: Type.String(),
          aliases: Type.Array(Type.String()),
          features: Type.Array(Type.String()),
          context_tokens: Type.Integer(),
          in_memory: Type.Boolean(),
          nodes: Type.Integer(),
        }),
      ),
    }),
    isWork: false,
    call: async (_input, { caller }) => {
      const models = [...identified(visibleTo(caller, service.models()))].map(([name, model]) => listed(name, model))
      const lines = models.map(({ name, features, in_memory }) => {
        return `${name}: ${features.join(', ')}${in_memory ? ' (in memory)' : ''}`
      })
      return { text: lines.join('\n') || 'no model is in the mesh', structured: { models } }
    },
  })

const listed = (name: string, { aliases, features, contextTokens, resident, nodes }: ModelView) => ({
  name,
  aliases,
  features,
  context_tokens: contextTokens,
  in_memory: resident,
  nodes: nodes.length,
})

const statusTool = ({ service }: WorkComponents): McpTool =>
  toolOf({
    name: 'mesh_status',
    title: 'How the mesh is',
    description: "Tells which of the user's devices are there, whether they may take work, and what waits.",
    inputSchema: NO_INPUT,
    outputSchema: Type.Object({
      ready: Type.Boolean(),
      reason: Type.String(),
      running: Type.Integer(),
      waiting: Type.Integer(),
      nodes: Type.Array(
        Type.Object({
          name: Type.String(),
          state: Type.String(),
          eligible: Type.Boolean(),
          reasons: Type.Array(Type.String()),
        }),
      ),
    }),
    isWork: false,
    call: async () => {
      const { ready, reason } = service.ready()
      const { running, waiting } = service.stats().dispatch
      const nodes = service.nodes().map(({ name, state, eligible, reasons }) => ({ name, state, eligible, reasons }))
      const waits = Object.values(waiting).reduce((sum, each) => sum + each, 0)
      const lines = nodes.map(({ name, state, eligible, reasons }) => {
        return `${name}: ${state}${eligible ? '' : `, takes no work (${reasons.join('; ')})`}`
      })
      return {
        text: [reason, `${running} running, ${waits} waiting`, ...lines].join('\n'),
        structured: { ready, reason, running, waiting: waits, nodes },
      }
    },
  })

const embedTool = (components: WorkComponents): McpTool =>
  toolOf({
    name: 'embed',
    title: 'Make vectors of texts',
    description: 'Makes a vector of each text, of length 1: the product of two is how alike their texts are.',
    inputSchema: Type.Object(workInput, { additionalProperties: false }),
    outputSchema: Type.Object({
      model: Type.String(),
      embeddings: Type.Array(Type.Array(Type.Number())),
      prompt_tokens: Type.Integer(),
    }),
    isWork: true,
    call: async ({ model: named, texts }, context) => {
      const model = named ?? modelFor(components, context, 'embed')
      const result = await done(components, context, model, embedWork({ model, input: texts }))
      const { vectors, promptTokens } = ofKind(result, 'embed')
      const embeddings = vectors.map(numbersOf)
      return {
        text: `${embeddings.length} vectors of ${embeddings[0]?.length ?? 0} numbers`,
        structured: { model, embeddings, prompt_tokens: promptTokens },
      }
    },
  })

const classifyTool = (components: WorkComponents): McpTool =>
  toolOf({
    name: 'classify',
    title: 'Find the classes of texts',
    description: "Finds a model's classes for each text, the likeliest first, and how likely each is.",
    inputSchema: Type.Object(
      { ...workInput, top: Type.Optional(Type.Integer({ minimum: 1, maximum: LIMITS.workClassesMax })) },
      { additionalProperties: false },
    ),
    outputSchema: Type.Object({
      model: Type.String(),
      results: Type.Array(Type.Array(Type.Object({ label: Type.String(), score: Type.Number() }))),
      prompt_tokens: Type.Integer(),
    }),
    isWork: true,
    call: async ({ model: named, texts, top }, context) => {
      const model = named ?? modelFor(components, context, 'classify')
      const result = await done(components, context, model, classifyWork({ model, input: texts }))
      const { classes, promptTokens } = ofKind(result, 'classify')
      const results = classes.map((all) => all.toSorted((a, b) => b.score - a.score).slice(0, top))
      const lines = results.map((each) => each.map(({ label, score }) => `${label} ${score.toFixed(3)}`).join(', '))
      return { text: lines.join('\n'), structured: { model, results, prompt_tokens: promptTokens } }
    },
  })

const modelFor = ({ service }: WorkComponents, { caller }: ToolContext, feature: 'embed' | 'classify'): string =>
  onlyModel(visibleTo(caller, service.models()), feature)

/** @throws SkeinError what kept the work from being done. */
async function done(
  { service, open }: WorkComponents,
  { caller, requestId, signal, trace }: ToolContext,
  model: string,
  work: Work,
): Promise<WorkResult> {
  let result: WorkResult | undefined
  await open.whileOpen(work, async () => {
    const request = {
      requestId: asRequestId(requestId),
      model,
      work,
      ...granted(caller, service, model, 'default', {}),
      ...(trace && { trace }),
    }
    result = (await service.work(request, signal)).result
  })
  if (!result) throw new SkeinError('INTERNAL', 'work that was done has no result')
  return result
}
