#!/bin/sh
echo "$1 and $2"
