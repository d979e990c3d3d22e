/** Completion scripts: commands, their subcommands and flags, written out for a shell. The scripts ask no server. */
import type { Command } from 'commander';
import { beyond, version2, version3 } from '../catalogue.ts';
import type { Context } from '../context.ts';
import { fullProgram } from '../program.ts';

export const SHELLS = ['bash', 'zsh', 'fish'] as const;
export type Shell = (typeof SHELLS)[number];

/** One place on the command line: the words so far, and what may follow. */
interface Place {
  /** Commands up to here, with spaces between: '' at the start. */
  path: string;
  words: { word: string; text: string }[];
  flags: { word: string; text: string }[];
}

export async function completion(shell: Shell, context: Context): Promise<string> {
  const places = await placesOf(context);
  if (shell === 'fish') return fish(places);
  return shell === 'bash' ? bash(places) : zsh(places);
}

/** Of both generations: where a name has two meanings, the flags of both are offered. */
async function placesOf(context: Context): Promise<Place[]> {
  const places = new Map<string, Place>();
  const programs = [await fullProgram([...version3, ...beyond], context), await fullProgram(version2, context)];
  for (const program of programs) collect(program, '', places);
  return [...places.values()];
}

function collect(command: Command, path: string, places: Map<string, Place>): void {
  const place = places.get(path) ?? { path, words: [], flags: [] };
  places.set(path, place);
  const add = (list: Place['words'], word: string, text: string) => {
    if (!list.some((one) => one.word === word)) list.push({ word, text });
  };
  for (const { long, description } of command.options) if (long) add(place.flags, long, description);
  for (const one of command.commands) {
    add(place.words, one.name(), one.description());
    collect(one, path === '' ? one.name() : `${path} ${one.name()}`, places);
  }
}

const wordsOf = (place: Place) => [...place.words, ...place.flags].map(({ word }) => word).join(' ');

function cases(places: readonly Place[], variable: string): string {
  return places.map((place) => `    '${place.path}') ${variable}='${wordsOf(place)}' ;;`).join('\n');
}

/** Shell lines: the words before the one being completed that are no flags, as far as they name commands, into `path`. */
const pathLoop = (first: string, last: string, array: string, path: string) => `  local ${path}='' next word
  local i
  for ((i = ${first}; i < ${last}; i++)); do
    word=\${${array}[i]}
    [[ $word == -* ]] && continue
    next="\${${path}:+$${path} }$word"
    [[ " $known " == *" '$next' "* ]] && ${path}=$next
  done`;

const knownPaths = (places: readonly Place[]) => places.map(({ path }) => `'${path}'`).join(' ');

function bash(places: readonly Place[]): string {
  return `# bash completion for rosterctl
_rosterctl() {
  local known="${knownPaths(places)}"
${pathLoop('1', 'COMP_CWORD', 'COMP_WORDS', 'path')}
  local words=''
  case $path in
${cases(places, 'words')}
  esac
  [[ $path != '' ]] && words="$words $_rosterctl_globals"
  COMPREPLY=($(compgen -W "$words" -- "\${COMP_WORDS[COMP_CWORD]}"))
}
_rosterctl_globals='${globalWords(places)}'
complete -o default -F _rosterctl rosterctl
`;
}

/** In zsh, `path` and `words` are taken. */
function zsh(places: readonly Place[]): string {
  return `#compdef rosterctl
# zsh completion for rosterctl
_rosterctl() {
  local known="${knownPaths(places)}"
${pathLoop('2', 'CURRENT', 'words', 'command_path')}
  local -a offered
  local names=''
  case $command_path in
${cases(places, 'names')}
  esac
  offered=(\${=names})
  [[ $command_path != '' ]] && offered+=(${globalWords(places)})
  compadd -a offered || _files
}
compdef _rosterctl rosterctl
`;
}

function globalWords(places: readonly Place[]): string {
  return (places[0]?.flags ?? []).map(({ word }) => word).join(' ');
}

function fish(places: readonly Place[]): string {
  const lines = ['# fish completion for rosterctl', 'complete -c rosterctl -f'];
  for (const place of places) {
    const [command, subcommand] = place.path.split(' ');
    const when = place.path === '' ? '__fish_use_subcommand' : `__fish_seen_subcommand_from ${subcommand ?? command}`;
    const and = subcommand === undefined ? '' : `; and __fish_seen_subcommand_from ${command}`;
    for (const { word, text } of place.words)
      lines.push(`complete -c rosterctl -n '${when}${and}' -a ${word} -d ${quoted(text)}`);
    for (const { word, text } of place.flags) {
      const condition = place.path === '' ? '' : ` -n '${when}${and}'`;
      lines.push(`complete -c rosterctl${condition} -l ${word.slice(2)} -d ${quoted(text)}`);
    }
  }
  return `${lines.join('\n')}\n`;
}

const quoted = (text: string) => `'${text.replaceAll('\\', '\\\\').replaceAll("'", "\\'")}'`;
