/** The bytes of copies of a response, prefixes included. What all copies of one response share is kept with the response. */

import type { MessageType } from '../../core/wire/schema.ts';
import { Stencil } from '../../core/wire/stencil.ts';
import type { Copies } from '../rpc/copies.ts';
import { prefixed } from './call.ts';
import { PREFIX_BYTES } from './message-reader.ts';

const stencil: unique symbol = Symbol('stencil');

interface Carrier {
  [stencil]?: Stencil<object>;
}

/** The stencil of the response, for prefixed messages. All copies of one response must vary the same field. */
export function stencilOf(type: MessageType<object>, { response, field }: Copies): Stencil<object> {
  const carrier = response as Carrier;
  carrier[stencil] ??= new Stencil(type, response, field as never, PREFIX_BYTES, prefixed);
  return carrier[stencil];
}
