/**
 * Scripts that complete `skein` in shells. Commands, options and fixed values stand in them, so that a Tab costs nothing;
 * names of the mesh (nodes, models, tasks, …) are asked of the coordinator, by `skein complete WHAT`.
 */
import { everyCommand, type CommandNode, type OptionNode, type Values } from './tree.ts'

export const SHELLS = ['bash', 'zsh', 'fish'] as const
export type Shell = (typeof SHELLS)[number]

const HARMLESS = /^[\p{L}\p{N}_.:/@+-]{1,200}$/u

/**
 * Whether a shell may be given `name` to complete with. Shells expand such words: with other characters it would be a
 * command in the person's shell, and others choose the names of nodes and models.
 */
export const isHarmless = (name: string): boolean => HARMLESS.test(name)

/** In single quotes, for any of the shells. */
const quoted = (text: string): string => `'${text.replaceAll("'", `'\\''`)}'`

const flagsOf = ({ short, long }: OptionNode): string[] => [...(short === undefined ? [] : [short]), long]

/** Command lines as `case` patterns: `'skein keys' | 'skein keys add'`. */
const patterns = (paths: readonly string[]): string => paths.map((path) => `'${path}'`).join(' | ')

interface Value {
  readonly flags: readonly string[]
  readonly values: Values
}
const valuesWithOptions = (node: CommandNode): Value[] =>
  node.options.flatMap((option) => (option.values ? [{ flags: flagsOf(option), values: option.values }] : []))

const pathOf = ({ path }: CommandNode): string => path.join(' ')

/** `case` branches in which `act` says what is done with the values of an option or of an argument. */
function branches(tree: CommandNode, act: (values: Values) => string): { options: string[]; places: string[] } {
  const options: string[] = []
  const places: string[] = []
  for (const node of everyCommand(tree)) {
    for (const { flags, values } of valuesWithOptions(node))
      options.push(`    ${patterns(flags.map((flag) => `${pathOf(node)} ${flag}`))}) ${act(values)} ;;`)
    const [first] = node.arguments
    if (first !== undefined) places.push(`    ${patterns([pathOf(node)])}) ${act(first.values)} ;;`)
  }
  return { options, places }
}

function bash(tree: CommandNode): string {
  const nodes = [...everyCommand(tree)]
  const act = (values: Values): string => {
    switch (values.from) {
      case 'choices':
        return `COMPREPLY=($(compgen -W ${quoted(values.choices.join(' '))} -- "$cur"))`
      case 'mesh':
        return `COMPREPLY=($(compgen -W "$(skein complete ${values.what} 2>/dev/null)" -- "$cur"))`
      case 'files':
        return 'COMPREPLY=($(compgen -f -- "$cur"))'
      case 'folders':
        return 'COMPREPLY=($(compgen -d -- "$cur"))'
      case 'nowhere':
        return 'COMPREPLY=()'
    }
  }
  const { options, places } = branches(tree, act)
  const words = nodes.map((node) => {
    const all = [...node.commands.map(({ path }) => path.at(-1)!), ...node.options.flatMap(flagsOf)]
    return `    ${patterns([pathOf(node)])}) words=${quoted(all.join(' '))} ;;`
  })
  return `# bash completion of skein: skein completion bash > ~/.local/share/bash-completion/completions/skein
_skein() {
  local cur=\${COMP_WORDS[COMP_CWORD]} prev=\${COMP_WORDS[COMP_CWORD-1]} path=skein words= i
  COMPREPLY=()
  for ((i = 1; i < COMP_CWORD; i++)); do
    case "$path \${COMP_WORDS[i]}" in
    ${patterns(nodes.slice(1).map(pathOf))}) path="$path \${COMP_WORDS[i]}" ;;
    esac
  done
  case "$path $prev" in
${options.join('\n')}
    *) prev= ;;
  esac
  [ -n "$prev" ] && return
  case $path in
${words.join('\n')}
  esac
  COMPREPLY=($(compgen -W "$words" -- "$cur"))
  case $cur in -*) return ;; esac
  [ "\${#COMPREPLY[@]}" -gt 0 ] && [ -n "$cur" ] && return
  case $path in
${places.join('\n')}
  esac
}
complete -F _skein skein
`
}

/** `name:description`, as zsh's \`_describe\` takes it. */
const described = (name: string, description: string): string =>
  quoted(`${name.replaceAll(':', '\\:')}:${description.replaceAll('\n', ' ')}`)

// `path` is zsh's own, tied to PATH, and so is `commands`
function zsh(tree: CommandNode): string {
  const nodes = [...everyCommand(tree)]
  const act = (values: Values): string => {
    switch (values.from) {
      case 'choices':
        return `compadd -- ${values.choices.map(quoted).join(' ')}`
      case 'mesh':
        return `compadd -- \${(f)"$(skein complete ${values.what} 2>/dev/null)"}`
      case 'files':
        return '_files'
      case 'folders':
        return '_files -/'
      case 'nowhere':
        return ':'
    }
  }
  const { options, places } = branches(tree, act)
  const lists = nodes.map((node) => {
    const commands = node.commands.map((each) => described(each.path.at(-1)!, each.description))
    const flags = node.options.flatMap((option) => flagsOf(option).map((flag) => described(flag, option.description)))
    return `    ${patterns([pathOf(node)])}) subcommands=(${commands.join(' ')}); flags=(${flags.join(' ')}) ;;`
  })
  return `#compdef skein
# zsh completion of skein: skein completion zsh > a folder of $fpath, as _skein
_skein() {
  local cur=\${words[CURRENT]} prev=\${words[CURRENT-1]} line=skein i
  local -a subcommands flags
  for ((i = 2; i < CURRENT; i++)); do
    case "$line \${words[i]}" in
    ${patterns(nodes.slice(1).map(pathOf))}) line="$line \${words[i]}" ;;
    esac
  done
  case "$line $prev" in
${options.join('\n')}
    *) prev= ;;
  esac
  [[ -n $prev ]] && return
  case $line in
${lists.join('\n')}
  esac
  if [[ $cur == -* ]]; then
    _describe -o option flags
    return
  fi
  (( \${#subcommands} )) && _describe command subcommands
  case $line in
${places.join('\n')}
  esac
}
if [[ $funcstack[1] == _skein ]]; then _skein "$@"; else compdef _skein skein; fi
`
}

/** One function for all of it: fish asks every rule of its own for its condition, and hundreds of them take seconds. */
function fish(tree: CommandNode): string {
  const nodes = [...everyCommand(tree)]
  const act = (values: Values): string => {
    switch (values.from) {
      case 'choices':
        return `printf '%s\\n' ${values.choices.map(quoted).join(' ')}`
      case 'mesh':
        return `skein complete ${values.what} 2>/dev/null`
      case 'files':
        return '__fish_complete_path $word'
      case 'folders':
        return '__fish_complete_directories $word'
      case 'nowhere':
        return 'true'
    }
  }
  const cases = (paths: readonly string[]): string => `case ${paths.map(quoted).join(' ')}`
  const lines = (names: readonly string[], description: string): string[] =>
    names.map((name) => quoted(`${name}\t${description.replaceAll('\n', ' ')}`))
  const values = nodes.flatMap((node) =>
    valuesWithOptions(node).flatMap(({ flags, values }) => [
      `    ${cases(flags.map((flag) => `${pathOf(node)} ${flag}`))}`,
      `      ${act(values)}`,
      '      return',
    ]),
  )
  const offers = nodes.flatMap((node) => {
    const flags = node.options.flatMap((option) => lines(flagsOf(option), option.description))
    const commands = node.commands.flatMap((each) => lines([each.path.at(-1)!], each.description))
    const [first] = node.arguments
    return [
      `    ${cases([pathOf(node)])}`,
      ...(flags.length === 0
        ? []
        : [`      string match -q -- '-*' "$word"; and printf '%s\\n' ${flags.join(' ')}; and return`]),
      ...(commands.length === 0 ? [] : [`      printf '%s\\n' ${commands.join(' ')}`]),
      ...(first === undefined ? [] : [`      ${act(first.values)}`]),
    ]
  })
  return `# fish completion of skein: skein completion fish > ~/.config/fish/completions/skein.fish
function _skein_complete
  set -l path skein
  set -l words (commandline -opc)
  set -l word (commandline -ct)
  for each in $words[2..]
    if contains -- "$path $each" ${nodes.slice(1).map(pathOf).map(quoted).join(' ')}
      set path "$path $each"
    end
  end
  switch "$path $words[-1]"
${values.join('\n')}
  end
  switch $path
${offers.join('\n')}
  end
end
complete -c skein -f -a '(_skein_complete)'
`
}

const SCRIPTS: Readonly<Record<Shell, (tree: CommandNode) => string>> = { bash, zsh, fish }

/** The script for `shell`, which it reads at its start. */
export const completionScript = (shell: Shell, tree: CommandNode): string => SCRIPTS[shell](tree)
