/**
 * Templates: Handlebars with confd's functions. Owns the one Handlebars environment of the process: no HTML escaping,
 * missing names are errors, nothing inherited is reachable, values are never parsed as templates. A render is
 * synchronous and reads keys only through its {@link Reader}.
 */
import Handlebars from 'handlebars';
import { BadPatternError } from './glob.ts';
import { sortText } from './go-path.ts';
import { messageOf } from './logger.ts';
import { type KeyPair, ReadError, type Reader } from './reader.ts';
import { bareRecord, HelperError, type HelperFunction, textArgument, textArity, textHelpers } from './text-helpers.ts';

/** A template could not be parsed or rendered. The message names template, place and key, and shows no value. */
export class TemplateError extends Error {
  override name = 'TemplateError';
}

/** The reader of the render under way; renders are synchronous, so there is at most one. */
let active: Reader | undefined;

function reader(name: string): Reader {
  if (active === undefined) throw new HelperError(`${name}: no render is under way`);
  return active;
}

function pair({ key, value }: KeyPair): object {
  return Object.assign(bareRecord([]), { key, value });
}

function getv(key: unknown, ...fallback: unknown[]): string {
  const name = textArgument('getv', key);
  const value = reader('getv').value(name);
  if (value !== undefined) return value;
  if (fallback.length > 0) return textArgument('getv', fallback[0]);
  throw new ReadError(`getv: key does not exist: ${name}`);
}

function get(key: unknown): object {
  const name = textArgument('get', key);
  const value = reader('get').value(name);
  if (value === undefined) throw new ReadError(`get: key does not exist: ${name}`);
  return pair({ key: name, value });
}

function getvs(pattern: unknown): string[] {
  return sortText(
    reader('getvs')
      .glob(textArgument('getvs', pattern))
      .map(({ value }) => value),
  );
}

const storeHelpers: Readonly<Record<string, HelperFunction>> = {
  getv,
  get,
  gets: (pattern) => reader('gets').glob(textArgument('gets', pattern)).map(pair),
  getvs,
  ls: (path) => reader('ls').list(textArgument('ls', path)),
  lsdir: (path) => reader('lsdir').listDirectories(textArgument('lsdir', path)),
  exists: (key) => reader('exists').exists(textArgument('exists', key)),
};

const arity: Readonly<Record<string, readonly [number, number]>> = { ...textArity, getv: [1, 2] };

type Options = Handlebars.HelperOptions & { fn?: Handlebars.TemplateDelegate; inverse?: Handlebars.TemplateDelegate };

/** Block form: a list is iterated, a truth value chooses, anything else becomes the context. */
function block(context: unknown, result: unknown, options: Options): string {
  if (typeof result === 'boolean') return result ? options.fn(context) : options.inverse(context);
  if (!Array.isArray(result)) return options.fn(result);
  if (result.length === 0) return options.inverse(context);
  let text = '';
  result.forEach((item: unknown, index) => {
    const data = options.data === undefined ? undefined : Handlebars.createFrame(options.data as object);
    if (data !== undefined) {
      Object.assign(data, { index, key: index, first: index === 0, last: index === result.length - 1 });
    }
    text += options.fn(item, { data, blockParams: [item, index] });
  });
  return text;
}

/**
 * A function as a Handlebars helper. Without arguments inside a record that has a field of the same name, it is that
 * field: `{{#json (getv "/service")}}{{name}}{{/json}}` prints the service's name.
 */
function asHelper(name: string, run: HelperFunction): Handlebars.HelperDelegate {
  const [least, most] = arity[name] ?? [1, 1];
  return function (this: unknown, ...all: unknown[]): unknown {
    const options = all.pop() as Options;
    if (all.length === 0 && typeof this === 'object' && this !== null && Object.hasOwn(this, name)) {
      const field = (this as Record<string, unknown>)[name];
      return options.fn === undefined ? field : block(this, field, options);
    }
    if (all.length < least || all.length > most) {
      throw new HelperError(
        `${name}: ${all.length} arguments given, ${least === most ? least : `${least} to ${most}`} expected`,
      );
    }
    const result = run(...all);
    return options.fn === undefined ? result : block(this, result, options);
  };
}

function createEnvironment(): typeof Handlebars {
  const environment = Handlebars.create();
  environment.unregisterHelper('log');
  for (const [name, run] of Object.entries({ ...textHelpers, ...storeHelpers })) {
    environment.registerHelper(name, asHelper(name, run));
  }
  return environment;
}

const environment = createEnvironment();

const COMPILE_OPTIONS = {
  noEscape: true,
  strict: true,
  // A template's text decides what it calls; the context never does.
  knownHelpers: {
    ...Object.fromEntries(Object.keys({ ...textHelpers, ...storeHelpers }).map((name) => [name, true])),
    log: false,
  },
} as unknown as Parameters<typeof Handlebars.compile>[1];

const RUNTIME_OPTIONS: Handlebars.RuntimeOptions = {
  allowProtoPropertiesByDefault: false,
  allowProtoMethodsByDefault: false,
};

/** One compiled template. */
export class Template {
  readonly #name: string;
  readonly #run: Handlebars.TemplateDelegate<object>;

  /** `name` is how errors call it. Throws {@link TemplateError} when the text is not a template. */
  constructor(name: string, text: string) {
    this.#name = name;
    try {
      environment.parse(text);
    } catch (error) {
      throw new TemplateError(`${name}: ${messageOf(error)}`);
    }
    this.#run = environment.compile<object>(text, COMPILE_OPTIONS);
  }

  /** The output; throws {@link TemplateError} for a missing key or name, or a function called wrongly. */
  render(keys: Reader): string {
    active = keys;
    try {
      return this.#run(bareRecord([]), RUNTIME_OPTIONS);
    } catch (error) {
      const known =
        error instanceof ReadError ||
        error instanceof HelperError ||
        error instanceof BadPatternError ||
        error instanceof Handlebars.Exception;
      const text = known ? messageOf(error) : `template failed: ${messageOf(error)}`;
      throw new TemplateError(`${this.#name}: ${text}`, { cause: error });
    } finally {
      active = undefined;
    }
  }
}
