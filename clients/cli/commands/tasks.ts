/** `skein tasks` and `skein cancel`: what was asked of the mesh, what became of it, and an end to it. */
import { InvalidArgumentError, Option, type Command } from 'commander'
import { LIMITS } from '../../../mesh/protocol/index.ts'
import { SystemClock } from '../../../mesh/runtime/index.ts'
import type { TaskSummary } from '../../../coordinator/index.ts'
import { addClientOptions, createContext, type ClientOptions } from '../context.ts'
import { formatDuration, table } from '../output.ts'

const TASKS_DEFAULT = 20

interface TasksOptions extends ClientOptions {
  readonly limit: number
  readonly open?: boolean
  readonly before?: string
}

function limit(text: string): number {
  const value = Number(text)
  if (!Number.isInteger(value) || value < 1 || value > LIMITS.tasksPageMax)
    throw new InvalidArgumentError(`a whole number from 1 to ${LIMITS.tasksPageMax}`)
  return value
}

export function registerTasks(program: Command): void {
  addClientOptions(program.command('tasks').description('list tasks, the newest first'))
    .addOption(new Option('--limit <n>', 'how many').argParser(limit).default(TASKS_DEFAULT))
    .addOption(new Option('--open', 'only those that have not ended'))
    .addOption(new Option('--before <task>', 'older than this one'))
    .action(async (options: TasksOptions) => {
      const { output, client } = createContext(options)
      const tasks = await client().tasks(options.limit, options.open ?? false, options.before)
      if (output.json) return output.value(tasks)
      if (tasks.length === 0) return output.note('no tasks')
      output.line(renderTasks(tasks, new SystemClock().wallMs()))
    })

  addClientOptions(
    program.command('cancel').description('end a task').argument('<task>', 'its id, as `skein tasks` shows it'),
  ).action(async (task: string, options: ClientOptions) => {
    const { output, client } = createContext(options)
    const { taskId, state, tokens } = await client().cancel(task)
    if (output.json) output.value({ taskId, state, tokens })
    else output.line(`${taskId} is ${state}, after ${tokens} tokens`)
  })
}

/** @param nowMs wall clock, against which ages are told. */
export function renderTasks(tasks: readonly TaskSummary[], nowMs: number): string {
  const rows = tasks.map((task) => [
    task.taskId,
    task.model,
    task.code === undefined ? task.state : `${task.state}: ${task.code}`,
    task.priority,
    task.node?.name ?? '-',
    String(task.attempts),
    String(task.tokens),
    formatDuration((task.endedAtMs ?? nowMs) - task.admittedAtMs),
    `${formatDuration(nowMs - task.admittedAtMs)} ago`,
  ])
  return table([['TASK', 'MODEL', 'STATE', 'PRIORITY', 'NODE', 'ATTEMPTS', 'TOKENS', 'TOOK', 'ASKED'], ...rows])
}
