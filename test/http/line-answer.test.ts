import { describe, expect, it } from 'vitest';
import { GrpcStatus, otherError } from '../../core/errors.ts';
import { LineAnswer } from '../../server/http/line-answer.ts';
import { BODY_BYTES_MAX, BODY_PIECES_MAX } from '../../server/http/text-body.ts';
import type { StreamMethod } from '../../server/rpc/service.ts';
import { METHODS } from '../auth/member.ts';

const SNAPSHOT = METHODS.get('/etcdserverpb.Maintenance/Snapshot') as StreamMethod;

function answer(): { answer: LineAnswer; response: () => Response } {
  let response: Response | undefined;
  const made = new LineAnswer(SNAPSHOT, (settled) => {
    response = settled;
  });
  return { answer: made, response: () => response! };
}

describe('LineAnswer', () => {
  it('takes lines up to its limit, says stop with the last, and go on when they are read', async () => {
    const { answer: lines, response } = answer();
    let drained = 0;
    lines.onDrain = () => drained++;
    for (let i = 1; i < BODY_PIECES_MAX; i++) expect(lines.send({ remaining_bytes: i }), `line ${i}`).toBe(true);
    expect(lines.send({ remaining_bytes: BODY_PIECES_MAX })).toBe(false);
    expect(drained).toBe(0);
    const reader = response().body!.getReader();
    const { value } = await reader.read();
    expect(Buffer.from(value!).toString()).toBe('{"result":{"remaining_bytes":"1"}}\n');
    await expect.poll(() => drained).toBe(1);
    // What is sent nevertheless is not lost.
    lines.end();
    let read = 1;
    for (let next = await reader.read(); !next.done; next = await reader.read()) read++;
    expect(read).toBe(BODY_PIECES_MAX);
  });

  it('takes one line that is larger than its limit', () => {
    const { answer: lines } = answer();
    expect(lines.send({ blob: new Uint8Array(BODY_BYTES_MAX) })).toBe(false);
  });

  it('a failure is the status before the first line, and a line after it', async () => {
    const error = otherError(GrpcStatus.PERMISSION_DENIED, 'no');
    const body = { error: { code: 7, message: 'no', grpc_code: 7, http_code: 403, http_status: 'Forbidden' } };
    const before = answer();
    before.answer.end(error);
    expect([before.response().status, await before.response().json()]).toEqual([403, body]);
    const after = answer();
    after.answer.send({ remaining_bytes: 1 });
    after.answer.end(error);
    after.answer.send({ remaining_bytes: 2 });
    expect(after.response().status).toBe(200);
    expect((await after.response().text()).split('\n')).toEqual([
      '{"result":{"remaining_bytes":"1"}}',
      JSON.stringify(body),
      '',
    ]);
  });

  it('a reader that goes cancels the call, once', async () => {
    const { answer: lines, response } = answer();
    let cancels = 0;
    lines.onCancel = () => cancels++;
    lines.send({ remaining_bytes: 1 });
    await response().body!.cancel();
    lines.leave();
    lines.end();
    expect(cancels).toBe(1);
  });
});
