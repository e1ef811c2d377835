/** Flags of `skein worker`: the server beside it, and how the machine ends. */
import { resolve } from 'node:path'
import { InvalidArgumentError, Option, type Command } from 'commander'
import type { AloneSwitch, NoticeChoice } from '../../node/worker/index.ts'
import { addMemberOptions, labelOption, logFileOption, priceOption, slotsOption } from './serve-options.ts'
import { upstreamChoices } from './upstream-options.ts'

export interface WorkerOptions {
  readonly vllm: { readonly url: string; readonly variable?: string }
  readonly serves?: Readonly<Record<string, string>>
  readonly notice?: NoticeChoice
  readonly aloneMinutes: number
  readonly powerOff?: readonly string[]
}

/** What a running process is told of it. */
export interface WorkerChoice extends Pick<WorkerOptions, 'vllm' | 'serves' | 'notice'> {
  /** Hears of every sign of a coordinator. */
  readonly alone?: AloneSwitch
}

const IS_PATH = /^\.{0,2}\//
const MINUTES_MAX = 7 * 24 * 60
const WORDS_MAX = 64

function vllm(text: string): WorkerOptions['vllm'] {
  const [choice] = upstreamChoices(text)
  if (choice === undefined || typeof choice === 'string')
    throw new InvalidArgumentError('URL[,VARIABLE], such as http://127.0.0.1:8000')
  return choice
}

/** `MODEL=DIGEST` or `MODEL=PATH`. A name of the server's may hold any character but this one. */
function serves(text: string, all: Readonly<Record<string, string>> = {}): Readonly<Record<string, string>> {
  const [, model, what] = /^([^=]{1,256})=(.{1,4096})$/.exec(text) ?? []
  if (model === undefined || what === undefined)
    throw new InvalidArgumentError('MODEL=DIGEST, MODEL=FILE or MODEL=NAME: what a model of the server stands in for')
  return { ...all, [model]: IS_PATH.test(what) ? resolve(what) : what }
}

function notice(text: string): NoticeChoice {
  if (text === 'aws' || text === 'scaleway') return text
  if (!text.includes('/')) throw new InvalidArgumentError('aws, scaleway, or the path of a file')
  return { file: resolve(text) }
}

function minutes(text: string): number {
  const value = Number(text)
  if (!(value > 0 && value <= MINUTES_MAX)) throw new InvalidArgumentError(`minutes, to ${MINUTES_MAX}`)
  return value
}

/** A program and its arguments; no shell reads them. */
function words(text: string): readonly string[] {
  const all = text.trim().split(/\s+/)
  if (all[0] === '' || all.length > WORDS_MAX) throw new InvalidArgumentError('a program and its arguments')
  return all
}

/** `value` of a worker's flag with its paths made absolute: a service starts elsewhere. */
export function absoluteForWorker(flag: string, value: string): string {
  const absolute = (path: string): string => (IS_PATH.test(path) ? resolve(path) : path)
  if (flag === '--notice') return value.includes('/') ? resolve(value) : value
  if (flag === '--power-off') return absolute(value.trim())
  if (flag !== '--serves') return value
  const border = value.indexOf('=') + 1
  return value.slice(0, border) + absolute(value.slice(border))
}

/** All flags of `skein worker`. */
export const addWorkerFlags = (command: Command): Command =>
  addWorkerOptions(addMemberOptions(command))
    .addOption(logFileOption())
    .addOption(slotsOption())
    .addOption(priceOption())
    .addOption(labelOption())

function addWorkerOptions(command: Command): Command {
  return command
    .addOption(
      new Option('--vllm <url>', 'URL[,VARIABLE]: the server beside this worker, and the variable that has its key')
        .env('SKEIN_VLLM')
        .argParser(vllm)
        .makeOptionMandatory(),
    )
    .addOption(
      new Option(
        '--serves <model=what>',
        'the model of the mesh that one of the server stands in for: digest, GGUF file or name (repeatable)',
      )
        .env('SKEIN_SERVES')
        .argParser(serves),
    )
    .addOption(
      new Option('--notice <where>', 'where the provider says that it takes the machine: aws, scaleway, or a file')
        .env('SKEIN_NOTICE')
        .argParser(notice),
    )
    .addOption(
      new Option('--alone-minutes <n>', 'without any coordinator for so long, --power-off is run')
        .env('SKEIN_ALONE_MINUTES')
        .argParser(minutes)
        .default(15),
    )
    .addOption(
      new Option('--power-off <command>', 'program, with its arguments, that ends the machine when nobody else would')
        .env('SKEIN_POWER_OFF')
        .argParser(words),
    )
}
