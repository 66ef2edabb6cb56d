/* SPDX-License-Identifier: Apache-2.0 */
#include "records.h"
int main(void)
{
    return 0;
}
