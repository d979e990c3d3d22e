/** One response to be sent several times in a row, each time with another value of one 64-bit field. Sends nothing. */

export class Copies<Res extends object = object> {
  /** Shared with other copies, perhaps of other streams: it must not change once it is sent. */
  readonly response: Res;
  readonly field: keyof Res & string;
  /** One copy each; at least one. */
  readonly values: readonly bigint[];

  constructor(response: Res, field: keyof Res & string, values: readonly bigint[]) {
    this.response = response;
    this.field = field;
    this.values = values;
  }
}
