import { describe, expect, it } from 'vitest';

import { unreadable } from '../../lib/support/files.js';

const failure = (code: string, message = 'no such luck'): Error => Object.assign(new Error(message), { code });

describe('a file that cannot be read', () => {
  it.each([
    ['ENOENT', 'There is no file m/x.pt; run sightline models.'],
    ['ENOTDIR', 'There is no file m/x.pt; run sightline models.'],
    ['EACCES', 'm/x.pt may not be read by this user; change its permissions.'],
    ['EPERM', 'm/x.pt may not be read by this user; change its permissions.'],
    ['ENAMETOOLONG', 'There is no file m/x.pt: no file has so long a name.'],
    ['EIO', 'm/x.pt cannot be read: no such luck.'],
  ])('for %s is FILE_NOT_FOUND in one sentence', (code, message) => {
    const cause = failure(code, 'no such luck.\n    at open');
    expect(unreadable('m/x.pt', cause, 'run sightline models')).toMatchObject({
      code: 'FILE_NOT_FOUND',
      message,
      cause,
    });
  });

  it('may fail by what is no error', () => {
    expect(unreadable('m/x.pt', null).message).toBe('m/x.pt cannot be read: null.');
  });
});
