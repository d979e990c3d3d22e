import { describe } from 'vitest';
import { clientSuite } from '../conformance/client.ts';
import { startRoster } from '../support/roster.ts';

describe('the client against Roster', () => {
  clientSuite(() => startRoster());
});
