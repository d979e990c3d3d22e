/** How the answers to put, get, del and txn are printed. */
import {
  DeleteRangeResponse,
  PutResponse,
  RangeResponse,
  type ResponseOp,
  TxnResponse,
} from '../../core/wire/messages.ts';
import type { Context } from '../context.ts';
import { fieldLine, headerLines, pairLines } from '../output/fields.ts';
import { printAnswer } from '../output/print.ts';
import { printPair } from '../output/text.ts';

export function printPut(context: Context, message: PutResponse): void {
  const simple = () => putText(context, message);
  printAnswer(context, { type: PutResponse, message, simple, fields: () => putLines(message) });
}

export function printRange(context: Context, message: RangeResponse, valueOnly = false): void {
  const simple = () => rangeText(context, message, valueOnly);
  printAnswer(context, { type: RangeResponse, message, simple, fields: () => rangeLines(message) });
}

export function printDelete(context: Context, message: DeleteRangeResponse): void {
  const simple = () => deleteText(context, message);
  printAnswer(context, { type: DeleteRangeResponse, message, simple, fields: () => deleteLines(message) });
}

export function printTxn(context: Context, message: TxnResponse): void {
  const simple = () => txnText(context, message);
  printAnswer(context, { type: TxnResponse, message, simple, fields: () => txnLines(message) });
}

function putText(context: Context, message: PutResponse): void {
  context.print('OK');
  if (message.prev_kv !== undefined) printPair(context, message.prev_kv);
}

function putLines({ header, prev_kv }: PutResponse): string[] {
  return [...headerLines(header), ...(prev_kv === undefined ? [] : pairLines(prev_kv, 'Prev'))];
}

function rangeText(context: Context, { kvs }: RangeResponse, valueOnly: boolean): void {
  for (const pair of kvs) printPair(context, pair, valueOnly);
}

function rangeLines({ header, kvs, more, count }: RangeResponse): string[] {
  const pairs = kvs.flatMap((pair) => pairLines(pair));
  return [...headerLines(header), ...pairs, fieldLine('More', more), fieldLine('Count', count)];
}

function deleteText(context: Context, message: DeleteRangeResponse): void {
  context.print(String(message.deleted));
  for (const pair of message.prev_kvs) printPair(context, pair);
}

function deleteLines({ header, deleted, prev_kvs }: DeleteRangeResponse): string[] {
  const before = prev_kvs.flatMap((pair) => pairLines(pair, 'Prev'));
  return [...headerLines(header), fieldLine('Deleted', deleted), ...before];
}

function txnText(context: Context, message: TxnResponse): void {
  context.print(message.succeeded ? 'SUCCESS' : 'FAILURE');
  for (const { response_put, response_range, response_delete_range } of message.responses) {
    context.print('');
    if (response_put !== undefined) putText(context, response_put);
    else if (response_range !== undefined) rangeText(context, response_range, false);
    else if (response_delete_range !== undefined) deleteText(context, response_delete_range);
  }
}

function txnLines(message: TxnResponse): string[] {
  const lines = [...headerLines(message.header), fieldLine('Succeeded', message.succeeded)];
  return lines.concat(message.responses.flatMap(opLines));
}

function opLines({ response_put, response_range, response_delete_range }: ResponseOp): string[] {
  if (response_put !== undefined) return putLines(response_put);
  if (response_range !== undefined) return rangeLines(response_range);
  return response_delete_range === undefined ? [] : deleteLines(response_delete_range);
}
