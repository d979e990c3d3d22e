import { describe, expect, it } from 'vitest';
import { KeyTree } from '../../confd/key-tree.ts';
import { Reader } from '../../confd/reader.ts';
import { Template, TemplateError } from '../../confd/template.ts';
import { SEQ_MAX } from '../../confd/text-helpers.ts';

const keys: Readonly<Record<string, string>> = {
  '/services/web/b:2': '10.0.0.2:80',
  '/services/web/a:1': '10.0.0.3:80',
  '/services/db/a:3': '10.0.0.1:5432',
  '/config/json': '{"name":"shop","port":80,"tags":["x","y"],"nested":{"on":true,"__proto__":"own"}}',
  '/config/list': '[1,{"a":2}]',
  '/config/html': '<b>&"\'</b>',
  '/config/braces': '{{getv "/config/html"}}',
  '/config/empty': '',
  '/config/__proto__': 'proto',
  '/config/constructor': 'ctor',
  '/leaf': 'x',
};

function render(text: string, prefix = ''): string {
  const tree = new KeyTree();
  for (const [key, value] of Object.entries(keys)) tree.set(key, value);
  tree.set('/config/__proto__', 'proto');
  return new Template('test.tmpl', text).render(new Reader(tree, prefix, ['']));
}

/** template, what it prints. */
const prints: readonly [string, string][] = [
  ['{{getv "/leaf"}}', 'x'],
  ['{{getv "/none" "fallback"}}', 'fallback'],
  ['{{getv "/none" ""}}|', '|'],
  ['{{getv "/config/empty" "unused"}}|', '|'],
  ['{{#with (get "/leaf")}}{{key}}={{value}}{{/with}}', '/leaf=x'],
  ['{{#get "/leaf"}}{{key}}={{value}}{{/get}}', '/leaf=x'],
  [
    '{{#each (gets "/services/web/*")}}{{key}} {{value}};{{/each}}',
    '/services/web/a:1 10.0.0.3:80;/services/web/b:2 10.0.0.2:80;',
  ],
  [
    '{{#gets "/services/*/*"}}{{@index}}{{#if @first}}F{{/if}}{{#if @last}}L{{/if}} {{base key}} {{name key}};{{/gets}}',
    '0F a:3 db;1 a:1 web;2L b:2 web;',
  ],
  ['{{#gets "/none/*"}}x{{else}}nothing{{/gets}}', 'nothing'],
  ['{{#each (getvs "/services/*/*") as |v|}}{{v}};{{/each}}', '10.0.0.1:5432;10.0.0.2:80;10.0.0.3:80;'],
  ['{{#getvs "/services/web/*"}}{{this}};{{/getvs}}', '10.0.0.2:80;10.0.0.3:80;'],
  ['{{#ls "/services"}}{{this}},{{/ls}}', 'db,web,'],
  ['{{#ls "/leaf"}}{{this}}{{/ls}}', 'leaf'],
  ['{{#ls "/services/"}}{{this}},{{/ls}}', 'db,web,'],
  ['{{#lsdir "/"}}{{this}},{{/lsdir}}', 'config,services,'],
  [
    '{{#ls "/services" as |s i|}}{{i}}{{s}}:{{#each (ls (join (split (replace "/services/S" "S" s -1) "/") "/"))}}{{this}} {{/each}}{{/ls}}',
    '0db:a:3 1web:a:1 b:2 ',
  ],
  ['{{#exists "/leaf"}}yes{{else}}no{{/exists}}{{#exists "/services"}}yes{{else}}no{{/exists}}', 'yesno'],
  ['{{#if (exists "/leaf")}}yes{{/if}}', 'yes'],
  ['{{#json (getv "/config/json")}}{{name}}:{{port}}{{#each tags}} {{this}}{{/each}}{{/json}}', 'shop:80 x y'],
  ['{{#with (json (getv "/config/json"))}}{{nested.on}}{{lookup nested "__proto__"}}{{/with}}', 'trueown'],
  ['{{#jsonArray (getv "/config/list")}}{{@index}}{{/jsonArray}}', '01'],
  ['{{getv "/config/html"}}', '<b>&"\'</b>'],
  ['{{getv "/config/braces"}}', '{{getv "/config/html"}}'],
  ['{{getv "/config/__proto__"}} {{getv "/config/constructor"}}', 'proto ctor'],
  ['{{base "/a/b"}} {{base "/a/b/"}} {{base "/"}} {{base ""}}', 'b b / .'],
  ['{{dir "/a/b"}} {{dir "/a/b/"}} {{dir "/"}} {{dir "a"}}', '/a /a/b / .'],
  ['{{name "/services/web/h:1"}}|{{name "/x"}}|', 'web||'],
  ['{{join (split "a,b,c" ",") "-"}}', 'a-b-c'],
  ['{{toUpper "aé"}}{{toLower "AÉ"}}', 'AÉaé'],
  ['{{#contains "abc" "bc"}}y{{else}}n{{/contains}}', 'y'],
  [
    '{{replace "aaa" "a" "b" 2}} {{replace "aaa" "a" "b" -1}} {{replace "ab" "" "-" -1}} {{replace "ab" "" "-" 1}} {{replace "a$1" "a" "$&" -1}}',
    'bba bbb -a-b- -ab $&$1',
  ],
  ['{{trimSuffix "a.conf" ".conf"}} {{trimSuffix "a" ""}}', 'a a'],
  ['{{base64Encode "hé"}} {{base64Decode "aMOp"}}', 'aMOp hé'],
  ['{{#if (parseBool "T")}}y{{/if}}{{#if (parseBool "0")}}n{{/if}}', 'y'],
  ['{{add (atoi "2") 3}} {{sub 2 3}} {{mul 2 3}} {{div 7 2}} {{div -7 2}} {{mod -7 2}}', '5 -1 6 3 -3 -1'],
  ['{{#each (reverse (getvs "/services/web/*"))}}{{this}} {{/each}}', '10.0.0.3:80 10.0.0.2:80 '],
  ['{{join (sortByLength (split "ccc,a,bb" ",")) ","}}', 'a,bb,ccc'],
  ['{{#sortKVByLength (gets "/services/*/*")}}{{base key}} {{/sortKVByLength}}', 'a:3 a:1 b:2 '],
  ['{{#seq 1 3}}{{this}}{{/seq}}{{#seq 2 1}}x{{else}}none{{/seq}}', '123none'],
  ['{{#with (map "a" 1 "__proto__" "p" "a" 2)}}{{a}}{{lookup this "__proto__"}}{{/with}}', '2p'],
  ['{{getenv "ROSTER_NO_SUCH" "d"}}{{getenv "ROSTER_NO_SUCH"}}', 'd'],
  ['{{#if (and (eq "a" "b" "a") (ne 1 2) (lt 1 2) (ge "b" "a") (not (gt 1 2)) (le 1 1))}}ok{{/if}}', 'ok'],
  ['{{printf "/svc/%s/%d %v%%" "web" 2 true}}', '/svc/web/2 true%'],
  [
    '{{#each (lsdir "/services")}}{{this}}:{{#gets (printf "/services/%s/*" this)}} {{value}}{{/gets}};{{/each}}',
    'db: 10.0.0.1:5432;web: 10.0.0.3:80 10.0.0.2:80;',
  ],
  ['{{or "" "x"}}{{len "hé"}}{{len (split "a,b" ",")}}', 'x32'],
];

/** template, what the error says. */
const refuses: readonly [string, RegExp][] = [
  ['{{getv "/none"}}', /test\.tmpl: getv: key does not exist: \/none/],
  ['{{get "/none"}}', /get: key does not exist: \/none/],
  ['{{getv}}', /getv: 0 arguments given, 1 to 2 expected/],
  ['{{missing}}', /"missing" not defined/],
  ['{{#each (gets "/services/web/*")}}{{constructor}}{{/each}}', /"constructor" not defined/],
  ['{{#each (gets "/services/web/*")}}{{__proto__}}{{/each}}', /"__proto__" not defined/],
  ['{{#each (gets "/services/web/*")}}{{valeu}}{{/each}}', /"valeu" not defined in an object/],
  ['{{#with (json (getv "/config/json"))}}{{nested.off}}{{/with}}', /"off" not defined/],
  ['{{nosuch "a"}}', /nosuch/],
  ['{{log "x"}}', /log/],
  ['{{> partial}}', /partial/],
  ['{{#if}', /Parse error on line 1/],
  ['{{json "nope secret"}}', /json: the text is not JSON$/],
  ['{{json "[]"}}', /json: the JSON is not an object/],
  ['{{jsonArray "{}"}}', /jsonArray: the JSON is not an array/],
  ['{{atoi "1x"}}', /atoi: a whole number/],
  ['{{parseBool "maybe"}}', /parseBool/],
  ['{{base64Decode "%"}}', /base64Decode/],
  ['{{div 1 0}}', /division by zero/],
  ['{{map "a"}}', /map: names and values/],
  [`{{seq 1 ${SEQ_MAX + 1}}}`, /seq: more than/],
  ['{{printf "%s"}}', /printf: fewer arguments/],
  ['{{printf "x" 1}}', /printf: more arguments/],
  ['{{printf "%x" 1}}', /printf: there is no verb %x/],
  ['{{gets "/["}}', /syntax error in pattern/],
];

describe('templates', () => {
  it.each(prints)('%s', (text, expected) => {
    expect(render(text)).toBe(expected);
  });

  it.each(refuses)('refuses %s', (text, expected) => {
    expect(() => render(text)).toThrow(TemplateError);
    expect(() => render(text)).toThrow(expected);
  });

  it('never shows a value in an error', () => {
    expect(() => render('{{#json (getv "/config/html")}}{{/json}}')).not.toThrow(/<b>/);
  });

  it('takes the prefix off', () => {
    expect(render('{{#gets "/web/*"}}{{key}} {{/gets}}{{getv "/db/a:3"}}', '/services')).toBe(
      '/web/a:1 /web/b:2 10.0.0.1:5432',
    );
    expect(() => render('{{getv "/leaf"}}', '/services')).toThrow('key does not exist: /leaf');
  });

  it('makes lists up to the limit', () => {
    expect(render(`{{len (seq 1 ${SEQ_MAX})}}`)).toBe(String(SEQ_MAX));
  });

  it('renders again with other keys', () => {
    const template = new Template('t', '{{getv "/a"}}');
    const tree = new KeyTree();
    tree.set('/a', '1');
    expect(template.render(new Reader(tree, '', ['']))).toBe('1');
    tree.set('/a', '2');
    expect(template.render(new Reader(tree, '', ['']))).toBe('2');
    tree.delete('/a');
    expect(() => template.render(new Reader(tree, '', ['']))).toThrow(TemplateError);
  });
});
