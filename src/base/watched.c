/* SPDX-License-Identifier: Apache-2.0 */
#include "base/watched.h"

uint32_t watched_;
